//! The state of a task behind a right checksum, read as recovery reads it. What is read can be written, and read again: a task that was recovered
//! from it goes on to write a base.

use std::sync::Arc;

use reelflow_core::{
    plan::{Emission, Plan},
    task::Task,
};
use reelflow_simulation::shape::{Kind, Shape};

/// The pipelines whose states are read: all kinds of stages that keep any.
pub const PIPELINES: [(Kind, Emission); 7] = [
    (Kind::Tumbling, Emission::Final),
    (Kind::Tumbling, Emission::Upsert),
    (Kind::Join, Emission::Final),
    (Kind::Hopping, Emission::Upsert),
    (Kind::Session, Emission::Final),
    (Kind::Union, Emission::Final),
    (Kind::Process, Emission::Final),
];

/// The pipeline of that number.
pub fn shape(pipeline: usize) -> Shape {
    let (kind, emission) = PIPELINES[pipeline];
    Shape { kind, n_partitions: 1, lateness_ms: 1_000, horizon_ms: 1_000, emission }
}

/// The first byte says which pipeline, the second which of its fragments; the rest is the body of a chunk.
pub fn run(bytes: &[u8]) -> bool {
    thread_local! {
        static PLANS: Vec<Arc<Plan>> = (0..PIPELINES.len()).map(|pipeline| Arc::new(shape(pipeline).build().0)).collect();
    }
    let [pipeline, fragment, body @ ..] = bytes else { return false };
    let plan = PLANS.with(|plans| plans[usize::from(*pipeline) % plans.len()].clone());
    let mut task = Task::new(plan.clone(), usize::from(*fragment) % plan.fragments.len(), 0);
    if task.restore(&crate::sealed(1, body)).is_err() {
        return false;
    }
    task.kept(&mut |_, kept| drop(format!("{kept:?}")));
    if let Err(error) = task.under(plan) {
        panic!("what was read cannot be written: {error}");
    }
    true
}
