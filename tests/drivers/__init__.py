"""What the tests use to start a stack of their own, and to look at it from outside."""
