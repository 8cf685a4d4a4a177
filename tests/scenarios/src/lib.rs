//! Features told as text: records in, panes out.
