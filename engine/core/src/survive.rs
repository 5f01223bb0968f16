//! What a bug may cost: the step that it is in.
//!
//! A panic in the engine must not end the daemon, which holds the counts of minutes. So each step that works on the counts
//! is run here: a message, the framing of a chunk, the judging of a counter, a part of a batch. What the step was about is
//! lost, and counted; what is around it goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a step; None, and one more is counted, if it panics.
///
/// What the step changed until then stays as it is: its caller has to be able to go on with that. Counts that were left
/// half-way are off by that step.
pub(crate) fn survive<T>(panics: &mut u64, step: impl FnOnce() -> T) -> Option<T> {
    let done = catch_unwind(AssertUnwindSafe(step)).ok();
    *panics = panics.saturating_add(u64::from(done.is_none()));
    done
}

/// Bugs that tests ask for.
#[cfg(test)]
pub(crate) mod bugs {
    use std::cell::RefCell;

    thread_local!(static ASKED: RefCell<Vec<(&'static str, usize)>> = const { RefCell::new(Vec::new()) });

    /// From now on a place panics, in this thread, the next `times` that it is reached, the first `passed` ones left out.
    pub(crate) fn ask(place: &'static str, passed: usize, times: usize) {
        ASKED.with_borrow_mut(|asked| {
            asked.retain(|(known, _)| *known != place);
            // Taken from the end.
            asked.extend(std::iter::repeat_n((place, 1), times));
            asked.extend(std::iter::repeat_n((place, 0), passed));
        });
    }

    /// Stands at the place.
    pub(crate) fn reach(place: &'static str) {
        let next = ASKED.with_borrow_mut(|asked| {
            let at = asked.iter().rposition(|(known, _)| *known == place)?;
            Some(asked.remove(at).1)
        });
        assert!(next != Some(1), "a bug that somebody asked for");
    }
}
