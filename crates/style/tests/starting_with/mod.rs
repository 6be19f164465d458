//! Fixed cases before random ones: tests on a simulated device have few cases, which chance would spend on ordinary ones.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};

use gpu_core::testing::proptest::strategy::{Just, NewTree, Strategy, ValueTree};
use gpu_core::testing::proptest::test_runner::TestRunner;

#[derive(Debug)]
pub(crate) struct StartingWith<S: Strategy> {
    fixed: Vec<S::Value>,
    next: AtomicUsize,
    then: S,
}

/// These cases, each once, and then those of the strategy.
pub(crate) fn starting_with<S: Strategy>(fixed: Vec<S::Value>, then: S) -> StartingWith<S> {
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
