import warnings

with warnings.catch_warnings():
    # Great Expectations and what it imports warn at import of what is theirs to mend.
    warnings.simplefilter("ignore")
    import great_expectations.expectations  # noqa: F401
    import great_expectations_provider.common.gx_context_actions  # noqa: F401
