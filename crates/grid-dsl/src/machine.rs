//! Calls, limits and fuel: what one evaluation carries along.

use crate::error::{ErrClass, Limits, Result};
use crate::prim::Prim;
use crate::value::{Closure, Function, Maker, Value};

/// Evaluates calls within limits. One machine serves one program on one sample: its fuel is theirs.
#[derive(Clone, Debug)]
pub struct Machine<'l> {
    limits: &'l Limits,
    fuel: u64,
    pub(crate) calls: u32,
}

impl<'l> Machine<'l> {
    /// A machine with all the fuel of the limits.
    pub fn new(limits: &'l Limits) -> Self {
        Self { limits, fuel: limits.fuel, calls: 0 }
    }

    /// The limits.
    pub fn limits(&self) -> &'l Limits {
        self.limits
    }

    /// Fuel that has been used.
    pub fn used(&self) -> u64 {
        self.limits.fuel - self.fuel
    }

    /// Fuel that is left.
    pub(crate) fn left(&self) -> u64 {
        self.fuel
    }

    /// Uses fuel.
    pub(crate) fn spend(&mut self, visits: u64) -> Result<()> {
        let left = self.fuel.checked_sub(visits);
        self.fuel = left.unwrap_or(0);
        left.map(|_| ()).ok_or(ErrClass::Fuel)
    }

    /// Calls a primitive.
    pub fn prim(&mut self, prim: Prim, args: &[Value]) -> Result<Value> {
        if args.len() != prim.arity() {
            return Err(ErrClass::Arity);
        }
        self.spend(1 + args.iter().map(|a| u64::from(a.weight())).sum::<u64>())?;
        let value = (prim.entry().run)(self, args)?.within(self.limits)?;
        self.spend(u64::from(value.weight()))?;
        Ok(value)
    }

    /// Calls a function.
    pub fn call(&mut self, function: &Function, args: &[Value]) -> Result<Value> {
        if self.calls >= self.limits.calls {
            return Err(ErrClass::Limit);
        }
        self.calls += 1;
        let result = match function {
            Function::Prim(prim) => self.prim(*prim, args),
            Function::Closure(closure) => self.closure(closure, function.arity(), args),
        };
        self.calls -= 1;
        result
    }

    /// Calls a value, which must be a function.
    pub fn call_value(&mut self, function: &Value, args: &[Value]) -> Result<Value> {
        self.call(function.as_function().ok_or(ErrClass::Type)?, args)
    }

    fn closure(&mut self, closure: &Closure, arity: usize, args: &[Value]) -> Result<Value> {
        if args.len() != arity {
            return Err(ErrClass::Arity);
        }
        self.spend(1)?;
        match (closure.maker(), closure.args()) {
            (Maker::Compose, [outer, inner]) => {
                let x = self.call_value(inner, args)?;
                self.call_value(outer, &[x])
            }
            (Maker::Chain, [h, g, f]) => {
                let x = self.call_value(f, args)?;
                let x = self.call_value(g, &[x])?;
                self.call_value(h, &[x])
            }
            (Maker::Matcher, [f, target]) => {
                let x = self.call_value(f, args)?;
                self.spend(u64::from(x.weight().min(target.weight())))?;
                Ok(Value::Bool(x == *target))
            }
            (Maker::Fork, [outer, a, b]) => {
                let x = self.call_value(a, args)?;
                let y = self.call_value(b, args)?;
                self.call_value(outer, &[x, y])
            }
            (Maker::Rbind, [f, fixed]) => {
                let mut all = args.to_vec();
                all.push(fixed.clone());
                self.call_value(f, &all)
            }
            (Maker::Lbind, [f, fixed]) => {
                let mut all = vec![fixed.clone()];
                all.extend_from_slice(args);
                self.call_value(f, &all)
            }
            (Maker::Power, [f, n]) => {
                let mut x = self.call_value(f, args)?;
                for _ in 1..n.as_int().ok_or(ErrClass::Type)? {
                    x = self.call_value(f, &[x])?;
                }
                Ok(x)
            }
            _ => Err(ErrClass::Type),
        }
    }

    /// A tuple, unless it has more elements than it may.
    pub(crate) fn tuple(&self, items: Vec<Value>) -> Result<Value> {
        Value::try_tuple(items, self.limits)
    }

    /// The set of these, unless it has more elements than it may.
    pub(crate) fn set(&self, items: Vec<Value>) -> Result<Value> {
        // Duplicates do not count: what is limited is the set.
        Value::set(items).within(self.limits)
    }

    /// Whether that many elements may be made, before they are.
    pub(crate) fn room(&self, elements: i64) -> Result<()> {
        if elements > self.limits.elements as i64 { Err(ErrClass::Limit) } else { Ok(()) }
    }

    /// A grid of these rows.
    pub(crate) fn grid(&self, rows: Vec<Vec<Value>>) -> Result<Value> {
        self.sides(rows.len() as i64, rows.iter().map(Vec::len).max().unwrap_or(0) as i64)?;
        Ok(Value::tuple(rows.into_iter().map(Value::tuple).collect()))
    }

    /// Whether a grid may have these sides.
    pub(crate) fn sides(&self, height: i64, width: i64) -> Result<()> {
        let most = self.limits.side as i64;
        if height > most || width > most { Err(ErrClass::Limit) } else { Ok(()) }
    }
}
