"""Other sparse and dense attacks: what explanations are compared with."""
