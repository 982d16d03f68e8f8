"""The pages: HTML, styles and scripts, served as they lie here."""
