//! Seeded faults and crashes against the batch answer.
