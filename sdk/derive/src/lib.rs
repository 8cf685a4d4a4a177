//! The derive macros of the Reelflow plugin SDK.
