//! The manifest: text to a valid configuration, or every problem at once.
