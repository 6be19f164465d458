//! Fixed cases before random ones: tests on a simulated device have few cases, which chance would spend on ordinary ones.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::strategy::{Just, NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;

/// What [`starting_with`] gives.
#[derive(Debug)]
pub struct StartingWith<S: Strategy> {
    fixed: Vec<S::Value>,
    next: AtomicUsize,
    then: S,
}

/// These cases, each once, and then those of the strategy.
pub fn starting_with<S: Strategy>(fixed: Vec<S::Value>, then: S) -> StartingWith<S> {
    StartingWith { fixed, next: AtomicUsize::new(0), then }
}

impl<S: Strategy> Strategy for StartingWith<S>
where
    S::Value: Clone + Debug + 'static,
    S::Tree: 'static,
{
    type Tree = Box<dyn ValueTree<Value = S::Value>>;
    type Value = S::Value;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        match self.fixed.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            Some(case) => Ok(Box::new(Just(case.clone()))),
            None => Ok(Box::new(self.then.new_tree(runner)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_cases_come_first_and_once() {
        let mut runner = TestRunner::deterministic();
        let strategy = starting_with(vec![7, 8], 100..200);
        let drawn: Vec<i32> = (0..4).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
        assert_eq!(drawn[..2], [7, 8]);
        assert!(drawn[2..].iter().all(|n| (100..200).contains(n)), "{drawn:?}");
    }
}
