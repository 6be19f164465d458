//! Calls on values in fixed layouts: the fuel, limits and classes of errors of [`Machine`], less work.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use super::columns::Columns;
use super::memo::{Made, Memo, Mix, PATIENCE, SMALL, WORTH};
use super::prims;
use super::rows::Rows;
use super::val::{Closure, Lookups, Val};
use crate::error::{ErrClass, Limits, Result};
use crate::machine::Machine;
use crate::ops::Labeller;
use crate::prim::Prim;
use crate::value::{Maker, Value};

/// Evaluates calls. One serves one node on one sample, as a [`Machine`] does.
pub(crate) struct Fast<'l> {
    pub(crate) m: Machine<'l>,
    /// Calls of primitives that had to go through the definition, by primitive.
    pub(crate) generic: [u32; Prim::ALL.len()],
    pub(crate) labeller: Labeller,
    memo: Memo,
    made: Made,
    pub(super) rows: Rows,
    pub(super) columns: Columns,
    node: u32,
    families: HashMap<u32, Arc<Lookups>, BuildHasherDefault<Mix>>,
    /// Whether calls are part of one that is looked up and small: then they are not looked up themselves.
    inside: bool,
}

impl<'l> Fast<'l> {
    pub(crate) fn new(limits: &'l Limits) -> Self {
        let (labeller, memo, made, rows, columns, families) = Default::default();
        let (m, generic, node, inside) = (Machine::new(limits), [0; Prim::ALL.len()], 0, false);
        Self { m, generic, labeller, memo, made, rows, columns, node, families, inside }
    }

    pub(crate) fn limits(&self) -> &'l Limits {
        self.m.limits()
    }

    /// All the fuel again, for a node: closures that it gives for one sample after the other are of one family.
    pub(crate) fn refill(&mut self, node: u32) {
        self.m = Machine::new(self.m.limits());
        self.node = node;
    }

    /// Another line, with what is left of the fuel.
    pub(crate) fn at(&mut self, line: u32) {
        self.node = line;
    }

    /// Ready for another sample: nothing is kept but room, and whether keeping results was of use.
    pub(crate) fn forget(&mut self) {
        self.generic.fill(0);
        self.memo.forget();
        self.made.forget();
        self.rows.forget();
        self.columns.forget();
    }

    /// Calls a primitive.
    pub(crate) fn prim(&mut self, prim: Prim, args: &[&Val]) -> Result<Val> {
        if args.len() != prim.arity() {
            return Err(ErrClass::Arity);
        }
        self.m.spend(1 + args.iter().map(|a| u64::from(a.weight())).sum::<u64>())?;
        if let Some(value) = prims::numbers::quick(prim, args) {
            return self.pay(&value).map(|()| value);
        }
        let result = prims::run(self, prim, args).unwrap_or_else(|| self.reference(prim, args));
        if let Ok(value) = &result {
            self.pay(value)?;
        }
        result
    }

    /// Uses the fuel of a result, if it is within the limits.
    #[inline(always)]
    fn pay(&mut self, value: &Val) -> Result<()> {
        if matches!(value, Val::Int(_) | Val::Bool(_)) && self.limits().weight >= 1 {
            return self.m.spend(1);
        }
        value.check(self.limits())?;
        self.m.spend(value.weight().into())
    }

    /// The definition of a primitive, on values in its form.
    #[cold]
    fn reference(&mut self, prim: Prim, args: &[&Val]) -> Result<Val> {
        self.generic[prim as usize] += 1;
        let args: Vec<Value> = args.iter().map(|a| a.to_value()).collect();
        (prim.entry().run)(&mut self.m, &args).map(|value| Val::from(&value))
    }

    /// Calls a value, which must be a function.
    pub(crate) fn call(&mut self, function: &Val, args: &[&Val]) -> Result<Val> {
        if !function.is_function() {
            return Err(ErrClass::Type);
        }
        if self.m.calls >= self.m.limits().calls {
            return Err(ErrClass::Limit);
        }
        self.m.calls += 1;
        let result = match function {
            Val::Prim(prim) => self.prim(*prim, args),
            Val::Closure(closure) => self.known(closure, args),
            _ => Err(ErrClass::Type),
        };
        self.m.calls -= 1;
        result
    }

    /// What [`Self::call`] gives, if that is the result that came next the last time.
    #[inline]
    pub(super) fn again(&mut self, function: &Val, arg: &Val) -> Option<Result<Val>> {
        let Val::Closure(closure) = function else { return None };
        if self.inside {
            return None;
        }
        let (result, fuel) = self.memo.again(closure, self.m.calls + 1, arg)?;
        Some(self.m.spend(fuel).and(result))
    }

    /// Whether the images of a map of a closure are kept, as far as that is known before its first call.
    pub(super) fn keeps_images(&self, closure: &Closure) -> bool {
        let fuel = closure.last_fuel();
        !self.inside && (fuel == 0 || fuel >= WORTH) && closure.finds_in_rows(PATIENCE / 4)
    }

    /// What [`Self::call`] gives, of a closure whose result is kept by who calls it.
    pub(super) fn call_unkept(&mut self, closure: &Arc<Closure>, arg: &Val) -> Result<Val> {
        if self.m.calls >= self.m.limits().calls {
            return Err(ErrClass::Limit);
        }
        self.m.calls += 1;
        let before = self.m.used();
        let result = self.closure(closure, &[arg]);
        closure.took(self.m.used() - before);
        self.m.calls -= 1;
        result
    }

    /// A closure's result: one that is kept, or computed.
    fn known(&mut self, closure: &Arc<Closure>, args: &[&Val]) -> Result<Val> {
        let last = closure.last_fuel();
        let looked_up = last >= WORTH && !self.inside && Memo::is_patient(closure);
        let ([arg], true) = (args, looked_up) else {
            let before = self.m.used();
            let result = self.closure(closure, args);
            closure.took(self.m.used() - before);
            return result;
        };
        let key = Memo::key(closure, self.m.calls, arg);
        if let Some((result, fuel)) = self.memo.get(closure, &key) {
            self.m.spend(fuel)?;
            return result;
        }
        let before = self.m.used();
        // A closure whose own results come again answers for those inside of it.
        self.inside = last < SMALL && closure.counts().1 > 0;
        let result = self.closure(closure, args);
        self.inside = false;
        let fuel = self.m.used() - before;
        closure.took(fuel);
        // Running out of fuel depends on what was left.
        if !matches!(result, Err(ErrClass::Fuel)) {
            self.memo.put(key, closure, arg, &result, fuel);
        }
        result
    }

    /// A closure of these arguments, which have been checked.
    pub(super) fn make(&mut self, maker: Maker, args: &[&Val]) -> Val {
        if self.m.calls > 0 {
            return self.made.closure(maker, args);
        }
        let family = self.families.entry(self.node).or_default().clone();
        Val::closure_of(maker, args.iter().map(|v| (*v).clone()).collect(), Some(family))
    }

    fn closure(&mut self, closure: &Closure, args: &[&Val]) -> Result<Val> {
        if args.len() != usize::from(closure.arity) {
            return Err(ErrClass::Arity);
        }
        self.m.spend(1)?;
        match (closure.maker, &closure.args[..]) {
            (Maker::Compose, [outer, inner]) => {
                let x = self.call(inner, args)?;
                self.call(outer, &[&x])
            }
            (Maker::Chain, [h, g, f]) => {
                let x = self.call(f, args)?;
                let x = self.call(g, &[&x])?;
                self.call(h, &[&x])
            }
            (Maker::Matcher, [f, target]) => {
                let x = self.call(f, args)?;
                self.m.spend(u64::from(x.weight().min(target.weight())))?;
                Ok(Val::Bool(x == *target))
            }
            (Maker::Fork, [outer, a, b]) => {
                let x = self.call(a, args)?;
                let y = self.call(b, args)?;
                self.call(outer, &[&x, &y])
            }
            (Maker::Rbind, [f, fixed]) => match args {
                [a] => self.call(f, &[a, fixed]),
                [a, b] => self.call(f, &[a, b, fixed]),
                [a, b, c] => self.call(f, &[a, b, c, fixed]),
                _ => Err(ErrClass::Arity),
            },
            (Maker::Lbind, [f, fixed]) => match args {
                [a] => self.call(f, &[fixed, a]),
                [a, b] => self.call(f, &[fixed, a, b]),
                [a, b, c] => self.call(f, &[fixed, a, b, c]),
                _ => Err(ErrClass::Arity),
            },
            (Maker::Power, [f, n]) => {
                let mut x = self.call(f, args)?;
                for _ in 1..n.as_int().ok_or(ErrClass::Type)? {
                    x = self.call(f, &[&x])?;
                }
                Ok(x)
            }
            _ => Err(ErrClass::Type),
        }
    }
}
