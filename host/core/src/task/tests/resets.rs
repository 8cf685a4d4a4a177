//! Stages that begin anew ([`super::anew`]).

use super::*;

/// The plan whose dedup begins anew by the record at `offset`, and has another id or horizon.
fn reset_plan(offset: i64, id: usize, horizon_ms: i64) -> Arc<Plan> {
    let mut plan = (*plan()).clone();
    plan.resets = [(0, offset)].into();
    plan.stages[0].kind = StageKind::Dedup { id, horizon_ms };
    Arc::new(plan)
}

fn recovered(plan: Arc<Plan>, chunks: &[Vec<u8>]) -> Result<Task, StateError> {
    let mut task = Task::new(plan, 0, 3);
    chunks.iter().try_for_each(|chunk| task.restore(chunk))?;
    task.restored();
    handled(&mut task, Input::ClockRead { now: NOW });
    Ok(task)
}

/// What a task has sealed in two epochs: ids 0 to 5.
fn two_epochs() -> (Task, Vec<Vec<u8>>) {
    let mut task = task();
    handled(&mut task, plays(0, 3));
    let mut chunks = sealed(&mut task).0.chunks;
    handled(&mut task, plays(3, 3));
    chunks.extend(sealed(&mut task).0.chunks);
    (task, chunks)
}

/// How many of `n` plays from `first` on are new.
fn n_new(task: &mut Task, first: usize, n: usize) -> usize {
    let before = task.counts().stages[&0].accepted;
    handled(task, plays(first, n));
    (task.counts().stages[&0].accepted - before) as usize
}

#[test]
fn what_is_kept_is_forgotten_once_and_counts_and_watermarks_stay() {
    let (before, chunks) = two_epochs();
    let mut task = recovered(reset_plan(7, 0, 1000), &chunks).unwrap();
    assert!(before.state_bytes() > 0 && task.state_bytes() == 0 && task.owes_base());
    assert_eq!((task.counts(), task.watermark()), (before.counts(), before.watermark()));
    let (base, _) = sealed(&mut task);
    assert!(base.is_base && !task.owes_base(), "although nothing has happened");
    assert_eq!(n_new(&mut task, 0, 2), 2);
    let mut chunks = base.chunks;
    chunks.extend(sealed(&mut task).0.chunks);

    // Whoever recovers it, knowing of the reset or not, has what came since.
    for plan in [reset_plan(7, 0, 1000), plan()] {
        let mut again = recovered(plan.clone(), &chunks).unwrap();
        assert_eq!((again.owes_base(), again.not_ahead().is_ok()), (false, !plan.resets.is_empty()));
        assert_eq!((again.counts(), n_new(&mut again, 0, 3)), (task.counts(), 1));
        // Not knowing, it does not lose that it was done.
        handled(&mut again, Input::BaseDue);
        let base = sealed(&mut again).0.chunks;
        assert_eq!(n_new(&mut recovered(reset_plan(7, 0, 1000), &base).unwrap(), 0, 3), 0);
        assert_eq!(n_new(&mut recovered(reset_plan(8, 0, 1000), &base).unwrap(), 0, 3), 3, "a later one is another");
    }
}

#[test]
fn a_task_under_a_plan_with_a_reset_is_as_one_that_is_recovered() {
    let (mut before, chunks) = two_epochs();
    let mut under = before.under(reset_plan(7, 0, 2000)).unwrap();
    let mut recovered = recovered(reset_plan(7, 0, 2000), &chunks).unwrap();
    assert_eq!(sealed(&mut under).0, sealed(&mut recovered).0);
    assert_eq!(n_new(&mut before, 0, 6), 0, "the task itself stays as it was");
}

#[test]
fn other_terms_are_possible_but_for_those_that_say_where_rows_are() {
    let (_, chunks) = two_epochs();
    assert_eq!(n_new(&mut recovered(reset_plan(7, 0, 2000), &chunks).unwrap(), 0, 6), 6);
    let refused = recovered(reset_plan(7, 1, 2000), &chunks).unwrap_err();
    let text = "stage \"unique\" had id = (id: string), now it is (ts: i64)";
    assert_eq!((refused.to_string().as_str(), refused.can_be_reset()), (text, None));
    let mut longer = (*plan()).clone();
    longer.stages[0].kind = StageKind::Dedup { id: 0, horizon_ms: 2000 };
    assert_eq!(recovered(Arc::new(longer), &chunks).unwrap_err().can_be_reset(), Some("unique"));
}

#[test]
fn a_state_that_the_plugin_cannot_read_can_be_forgotten() {
    let keeping = |version, resets: &[(usize, i64)]| {
        let mut plan = (*plan()).clone();
        plan.stages[0].state = Some(crate::plugin::StateVersion { name: "S".to_owned(), version, reads: Vec::new() });
        plan.resets = resets.iter().copied().collect();
        Arc::new(plan)
    };
    let mut task = recovered(keeping(1, &[]), &[]).unwrap();
    handled(&mut task, plays(0, 3));
    let chunks = sealed(&mut task).0.chunks;
    assert_eq!(recovered(keeping(2, &[]), &chunks).unwrap_err().can_be_reset(), Some("unique"));
    let mut anew = recovered(keeping(2, &[(0, 7)]), &chunks).unwrap();
    assert_eq!(anew.state_versions(0).count(), 0);
    assert_eq!(n_new(&mut anew, 0, 3), 3);
    sealed(&mut anew);
    assert_eq!(anew.state_versions(0).collect::<Vec<_>>(), [2]);
}
