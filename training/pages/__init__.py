"""What all HTML pages share: palette, style, numbers and rendering."""
