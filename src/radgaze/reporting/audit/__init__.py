"""Page, figures and tables of an audit."""
