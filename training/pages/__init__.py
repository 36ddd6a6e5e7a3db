"""What all HTML pages share: palette, style, typeset numbers."""
