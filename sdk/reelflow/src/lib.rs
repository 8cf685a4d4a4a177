//! Write Reelflow plugins: derive your events, outputs and state, and implement one trait.
