//! Functions on functions: makers of closures, and maps.

use super::containers::merge;
use super::views::{function, items, rebuilt};
use crate::error::{ErrClass, Result};
use crate::machine::Machine;
use crate::value::{Function, Maker, Value};

fn make(maker: Maker, a: &[Value]) -> Result<Value> {
    a[..maker.functions()].iter().try_for_each(|f| function(f).map(|_| ()))?;
    Ok(Value::Fn(Function::closure(maker, a.to_vec())))
}

/// `x → outer(inner(x))`
pub(crate) fn compose(_: &mut Machine, a: &[Value]) -> Result<Value> {
    make(Maker::Compose, a)
}

/// `x → h(g(f(x)))`
pub(crate) fn chain(_: &mut Machine, a: &[Value]) -> Result<Value> {
    make(Maker::Chain, a)
}

/// `x → f(x) = target`
pub(crate) fn matcher(_: &mut Machine, a: &[Value]) -> Result<Value> {
    make(Maker::Matcher, a)
}

/// `x → outer(a(x), b(x))`
pub(crate) fn fork(_: &mut Machine, a: &[Value]) -> Result<Value> {
    make(Maker::Fork, a)
}

/// Fixes the last argument.
pub(crate) fn rbind(_: &mut Machine, a: &[Value]) -> Result<Value> {
    make(Maker::Rbind, a)
}

/// Fixes the first argument.
pub(crate) fn lbind(_: &mut Machine, a: &[Value]) -> Result<Value> {
    make(Maker::Lbind, a)
}

/// `f` applied `n` times.
pub(crate) fn power(m: &mut Machine, a: &[Value]) -> Result<Value> {
    function(&a[0])?;
    let n = super::views::int(&a[1])?;
    if n < 1 || n > m.limits().exponent {
        return Err(ErrClass::Limit);
    }
    make(Maker::Power, a)
}

/// Values that calls give one after the other. Their weight is bounded while they are made: the first that is too much
/// is [`ErrClass::Limit`], before later calls are done.
pub(crate) struct Images {
    all: Vec<Value>,
    weight: u32,
}

impl Images {
    pub(crate) fn new() -> Self {
        Self { all: Vec::new(), weight: 0 }
    }

    pub(crate) fn push(&mut self, m: &Machine, value: Value) -> Result<()> {
        self.weight = self.weight.saturating_add(value.weight());
        if self.weight > m.limits().weight || self.all.len() >= COMBINATIONS {
            return Err(ErrClass::Limit);
        }
        self.all.push(value);
        Ok(())
    }

    pub(crate) fn done(self) -> Vec<Value> {
        self.all
    }
}

/// Calls of one map, equal results counted: a set of them may be much smaller.
const COMBINATIONS: usize = 1 << 20;

/// The images of all elements, in a container of the same kind.
pub(crate) fn apply(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let f = function(&a[0])?;
    let images = super::containers::keys(m, f, items(&a[1])?)?;
    rebuilt(m, &a[1], images)
}

/// What each function makes of the value, in a container of the same kind.
pub(crate) fn rapply(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let mut images = Images::new();
    for f in items(&a[0])? {
        let image = m.call_value(f, &a[1..])?;
        images.push(m, image)?;
    }
    rebuilt(m, &a[0], images.done())
}

/// `merge(apply(f, c))`
pub(crate) fn mapply(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let images = apply(m, a)?;
    merge(m, &[images])
}

/// `f` of elements at equal positions, as far as the shorter goes.
pub(crate) fn papply(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let f = function(&a[0])?;
    let mut images = Images::new();
    for (x, y) in items(&a[1])?.iter().zip(items(&a[2])?) {
        let image = m.call(f, &[x.clone(), y.clone()])?;
        images.push(m, image)?;
    }
    m.tuple(images.done())
}

/// `merge(papply(f, a, b))`
pub(crate) fn mpapply(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let images = papply(m, a)?;
    merge(m, &[images])
}

/// The set of `f` of all combinations, the first argument's elements outside.
pub(crate) fn prapply(m: &mut Machine, a: &[Value]) -> Result<Value> {
    let (f, first, second) = (function(&a[0])?, items(&a[1])?, items(&a[2])?);
    let mut images = Images::new();
    for x in first {
        for y in second {
            let image = m.call(f, &[x.clone(), y.clone()])?;
            images.push(m, image)?;
        }
    }
    m.set(images.done())
}
