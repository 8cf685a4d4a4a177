//! Manifests as people write them, good and bad, against what they should be told.

mod agreement;
mod cases;
mod documents;
mod environment;
mod explained;
mod histories;
mod planned;
mod reference;
mod zones;
