"""Contract tests that authors of strategies and predictors inherit; they need pytest."""
