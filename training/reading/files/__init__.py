"""Where logs lie, which kind of file they are, and how they are opened."""
