"""scikit-learn's estimator checks skip a part unless scipy was told this before it is imported."""

import os

os.environ.setdefault("SCIPY_ARRAY_API", "1")
