"""Every figure of the comparison, from the blocks of the policies."""
