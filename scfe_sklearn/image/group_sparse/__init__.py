"""Group-wise sparse explanations (GSE): few clusters of changed pixels."""
