//! The call in a header of a dead letter. What is read can be written again.

use reelflow_core::letter::call::DeadCall;

pub fn run(bytes: &[u8]) -> bool {
    let Ok(call) = DeadCall::decode(bytes) else { return false };
    assert_eq!(DeadCall::decode(&call.encode()), Ok(call));
    true
}
