//! A seeded generator of impressions and plays with late, doubled, disordered and broken records, and the truth about each.
