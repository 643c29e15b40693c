"""Pure translations of the contracts, one module per tool that needs one."""
