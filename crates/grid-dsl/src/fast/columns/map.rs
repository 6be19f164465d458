//! Calls for all elements of a map.

use std::sync::Arc;

use super::Column::{self, Bool, Closure, Int, One, Pick, Tuple};
use super::numbers::{Numbers, binary, equal, unary};
use super::{Image, MOST, Shared, one, tuple};
use crate::fast::closure::bound_arity;
use crate::fast::machine::Fast;
use crate::fast::val::{Val, place};
use crate::prim::Prim;
use crate::value::Maker;

/// One map in work.
pub(super) struct Map<'f, 'l> {
    pub(super) f: &'f mut Fast<'l>,
    pub(super) n: usize,
    /// What all elements together have used, and may use.
    pub(super) fuel: u64,
    pub(super) left: u64,
}

impl Map<'_, '_> {
    fn spend(&mut self, fuel: u64) -> Option<()> {
        self.fuel = self.fuel.saturating_add(fuel);
        (self.fuel <= self.left).then_some(())
    }

    /// As [`Fast::call`], for all elements.
    pub(super) fn call(&mut self, by: &Shared, args: &[&Shared]) -> Option<Shared> {
        if let One(by) = &**by
            && args.iter().all(|arg| arg.is_one())
        {
            let values: Vec<Val> = args.iter().map(|arg| arg.get(0)).collect();
            let before = self.f.m.used();
            let value = self.f.call(by, &values.iter().collect::<Vec<_>>()).ok()?;
            self.spend((self.f.m.used() - before).saturating_mul(self.n as u64))?;
            return Some(one(value));
        }
        if self.f.m.calls >= self.f.limits().calls {
            return None;
        }
        self.f.m.calls += 1;
        let result = match &**by {
            One(Val::Prim(prim)) => self.prim(*prim, args),
            One(Val::Closure(_)) | Closure(..) => self.kept(by, args),
            _ => None,
        };
        self.f.m.calls -= 1;
        result
    }

    /// A closure's results: those that are kept, or computed.
    fn kept(&mut self, by: &Shared, args: &[&Shared]) -> Option<Shared> {
        let &[arg] = args else { return self.closure(by, args) };
        let key = (by.token(), arg.token(), self.f.m.calls);
        if let Some(image) = self.f.columns.images.get(&key) {
            let (result, fuel) = (image.result.clone(), image.fuel);
            self.spend(fuel)?;
            return Some(result);
        }
        let before = self.fuel;
        let result = self.closure(by, args)?;
        let held = result.held(self.n);
        if held <= MOST / 4 {
            let (fuel, alive) = (self.fuel - before, (by.clone(), arg.clone()));
            self.f.columns.room(held);
            self.f.columns.images.insert(key, Image { result: result.clone(), fuel, alive });
        }
        Some(result)
    }

    fn closure(&mut self, by: &Shared, args: &[&Shared]) -> Option<Shared> {
        if by.arity() != Some(args.len()) {
            return None;
        }
        self.spend(self.n as u64)?;
        let of_one: Vec<Shared>;
        let (maker, parts) = match &**by {
            One(Val::Closure(closure)) => {
                of_one = closure.args.iter().cloned().map(one).collect();
                (closure.maker, &of_one)
            }
            Closure(maker, parts, _) => (*maker, parts),
            _ => return None,
        };
        match (maker, &parts[..]) {
            (Maker::Compose, [outer, inner]) => {
                let x = self.call(inner, args)?;
                self.call(outer, &[&x])
            }
            (Maker::Chain, [h, g, f]) => {
                let x = self.call(f, args)?;
                let x = self.call(g, &[&x])?;
                self.call(h, &[&x])
            }
            (Maker::Fork, [outer, a, b]) => {
                let x = self.call(a, args)?;
                let y = self.call(b, args)?;
                self.call(outer, &[&x, &y])
            }
            (Maker::Matcher, [f, target]) => {
                let x = self.call(f, args)?;
                self.spend(x.weight()?.min(target.weight()?).saturating_mul(self.n as u64))?;
                if x.is_one() && target.is_one() {
                    return Some(one(Val::Bool(x.get(0) == target.get(0))));
                }
                Some(Arc::new(Bool(equal(&x, target)?)))
            }
            (Maker::Rbind, [f, fixed]) => {
                let all: Vec<&Shared> = args.iter().copied().chain([fixed]).collect();
                self.call(f, &all)
            }
            (Maker::Lbind, [f, fixed]) => {
                let all: Vec<&Shared> = [fixed].into_iter().chain(args.iter().copied()).collect();
                self.call(f, &all)
            }
            _ => None,
        }
    }

    /// As [`Fast::prim`], for all elements: of the arguments one at least differs.
    fn prim(&mut self, prim: Prim, args: &[&Shared]) -> Option<Shared> {
        if args.len() != prim.arity() {
            return None;
        }
        if let Some(at) = args.iter().position(|arg| !arg.is_one())
            && let Pick(values, picked) = &**args[at]
            && args[at + 1..].iter().all(|arg| arg.is_one())
        {
            return self.picked(prim, args, at, values, picked);
        }
        let n = self.n as u64;
        self.spend(args.iter().fold(n, |sum, arg| sum.saturating_add(arg.weights(self.n))))?;
        let result = self.computed(prim, args)?;
        let ((weight, depth), limits) = (result.largest(), self.f.limits());
        let elements = match &*result {
            Tuple(parts) => parts.len() <= limits.elements,
            One(value) => value.check(limits).is_ok(),
            Pick(values, _) => values.iter().all(|value| value.check(limits).is_ok()),
            _ => true,
        };
        if weight > limits.weight.into() || depth > limits.nesting || !elements {
            return None;
        }
        self.spend(result.weights(self.n))?;
        Some(result)
    }

    /// A primitive of one argument that is one of some values, the others the same for all: a call for each value.
    fn picked(&mut self, prim: Prim, args: &[&Shared], at: usize, values: &[Val], picked: &[u32]) -> Option<Shared> {
        let mut counts = vec![0u64; values.len()];
        for &k in picked {
            counts[k as usize] += 1;
        }
        let mut args: Vec<Val> = args.iter().map(|arg| if arg.is_one() { arg.get(0) } else { Val::None }).collect();
        let mut results = Vec::with_capacity(values.len());
        for (value, count) in values.iter().zip(counts) {
            if count == 0 {
                results.push(Val::None);
                continue;
            }
            args[at] = value.clone();
            let before = self.f.m.used();
            results.push(self.f.prim(prim, &args.iter().collect::<Vec<_>>()).ok()?);
            self.spend((self.f.m.used() - before).saturating_mul(count))?;
        }
        let each = || picked.iter().map(|&k| &results[k as usize]);
        if each().all(|v| matches!(v, Val::Int(_))) {
            return Some(Arc::new(Int(each().filter_map(Val::as_int).collect())));
        }
        if each().all(|v| matches!(v, Val::Bool(_))) {
            return Some(Arc::new(Bool(each().map(Val::truth).collect())));
        }
        if let Some(pairs) = each().map(|v| if let Val::Pair(i, j) = v { Some((*i, *j)) } else { None }).collect() {
            let pairs: Vec<(i32, i32)> = pairs;
            let (i, j) = pairs.into_iter().unzip();
            return Some(tuple(vec![Arc::new(Int(i)), Arc::new(Int(j))]));
        }
        Some(Arc::new(Pick(results, picked.to_vec())))
    }

    fn computed(&mut self, prim: Prim, a: &[&Shared]) -> Option<Shared> {
        match prim {
            Prim::Identity => Some(a[0].clone()),
            Prim::Add => binary(a[0], a[1], |a, b| a + b),
            Prim::Subtract => binary(a[0], a[1], |a, b| a - b),
            Prim::Multiply => binary(a[0], a[1], |a, b| a * b),
            Prim::Sign => unary(a[0], i64::signum),
            Prim::Invert => unary(a[0], |n| -n),
            Prim::Double => unary(a[0], |n| 2 * n),
            Prim::Halve => unary(a[0], |n| n >> 1),
            Prim::Increment => unary(a[0], |n| n + 1),
            Prim::Decrement => unary(a[0], |n| n - 1),
            Prim::Crement => unary(a[0], |n| n + n.signum()),
            Prim::Even => test(a[0], |n| n % 2 == 0),
            Prim::Positive => test(a[0], |n| n > 0),
            Prim::Flip => Some(Arc::new(Bool((0..self.n).map(|k| !a[0].truth(k)).collect()))),
            Prim::Both | Prim::Either => {
                let truths = |c: &Column| match c {
                    Bool(all) => Some(all.clone()),
                    One(Val::Bool(b)) => Some(vec![*b; self.n]),
                    _ => None,
                };
                let (x, y) = (truths(a[0])?, truths(a[1])?);
                let both = prim == Prim::Both;
                Some(Arc::new(Bool(x.iter().zip(y).map(|(x, y)| if both { x & y } else { x | y }).collect())))
            }
            Prim::Equality => Some(Arc::new(Bool(equal(a[0], a[1])?))),
            Prim::Greater => Some(Arc::new(Bool(a[0].numbers()?.zip(a[1].numbers()?, |a, b| a > b)))),
            Prim::First => a[0].parts()?.first().cloned(),
            Prim::Last => a[0].parts()?.last().cloned(),
            Prim::Maximum | Prim::Minimum => {
                let parts = a[0].parts()?;
                let [i, j] = &parts[..] else { return None };
                let largest = prim == Prim::Maximum;
                let all = i.numbers()?.zip(j.numbers()?, |i, j| if largest { i.max(j) } else { i.min(j) });
                Some(Arc::new(Int(all)))
            }
            Prim::Astuple => Some(tuple(a.iter().map(|arg| (*arg).clone()).collect())),
            Prim::Toivec | Prim::Tojvec => {
                a[0].numbers()?;
                let (n, zero) = (a[0].clone(), one(Val::Int(0)));
                Some(tuple(if prim == Prim::Toivec { vec![n, zero] } else { vec![zero, n] }))
            }
            Prim::Contained => contained(a[0], a[1]),
            Prim::Index => self.index(a[0], a[1]),
            Prim::Apply => {
                // Without parts nothing is called.
                a[0].arity()?;
                let parts = a[1].parts()?;
                if parts.len().saturating_mul(self.n) > MOST {
                    return None;
                }
                let images = parts.iter().map(|part| self.call(a[0], &[part])).collect::<Option<_>>()?;
                Some(tuple(images))
            }
            Prim::Argmax | Prim::Argmin | Prim::Valmax | Prim::Valmin => self.extreme(prim, a[0], a[1]),
            Prim::Compose => made(Maker::Compose, a),
            Prim::Chain => made(Maker::Chain, a),
            Prim::Matcher => made(Maker::Matcher, a),
            Prim::Fork => made(Maker::Fork, a),
            Prim::Rbind => made(Maker::Rbind, a),
            Prim::Lbind => made(Maker::Lbind, a),
            _ => None,
        }
    }

    /// The cells of a grid at locations, if all are inside.
    fn index(&self, grid: &Column, at: &Column) -> Option<Shared> {
        let One(Val::Grid(grid)) = grid else { return None };
        if grid.h.max(grid.w) > self.f.limits().side {
            return None;
        }
        let cell = |(i, j): (i32, i32)| {
            let (i, j) = (usize::try_from(i).ok()?, usize::try_from(j).ok()?);
            (i < grid.h && j < grid.w).then(|| i32::from(grid.cells[i * grid.w + j]))
        };
        Some(Arc::new(Int(places(at)?.into_iter().map(cell).collect::<Option<_>>()?)))
    }

    /// The elements of one container whose images are largest or least, or those images: numbers.
    fn extreme(&mut self, prim: Prim, container: &Column, by: &Shared) -> Option<Shared> {
        let One(container) = container else { return None };
        let items = container.items().ok()?.to_vec();
        // The number of images is bounded, and their weight: each weighs one here.
        if items.is_empty() || items.len() > MOST / 4 || items.len() as u64 > u64::from(self.f.limits().weight) {
            return None;
        }
        let largest = matches!(prim, Prim::Argmax | Prim::Valmax);
        let mut best: Vec<i32> = Vec::new();
        let mut at = vec![0u32; self.n];
        for (k, item) in items.iter().enumerate() {
            let images = self.call(by, &[&one(item.clone())])?;
            let same: Vec<i32>;
            let images = match images.numbers()? {
                Numbers::Each(all) => all,
                Numbers::Same(n) => {
                    same = vec![n; self.n];
                    &same
                }
            };
            if k == 0 {
                best = images.to_vec();
                continue;
            }
            for ((best, at), &image) in best.iter_mut().zip(&mut at).zip(images) {
                let better = if largest { image > *best } else { image < *best };
                *at = if better { k as u32 } else { *at };
                *best = if better { image } else { *best };
            }
        }
        Some(Arc::new(if matches!(prim, Prim::Valmax | Prim::Valmin) { Int(best) } else { Pick(items, at) }))
    }
}

/// A test of each number.
fn test(a: &Column, f: impl Fn(i32) -> bool) -> Option<Shared> {
    let Int(all) = a else { return None };
    Some(Arc::new(Bool(all.iter().map(|&n| f(n)).collect())))
}

/// The rows and columns of locations.
fn places(of: &Column) -> Option<Vec<(i32, i32)>> {
    let parts = of.parts()?;
    let [i, j] = &parts[..] else { return None };
    Some(i.numbers()?.zip(j.numbers()?, |i, j| (i, j)))
}

/// Closures of these arguments.
fn made(maker: Maker, a: &[&Shared]) -> Option<Shared> {
    a[..maker.functions()].iter().try_for_each(|f| f.arity().map(|_| ()))?;
    let arity = match maker {
        Maker::Rbind | Maker::Lbind => bound_arity(a[0].arity()?),
        _ => 1,
    };
    Some(Arc::new(Closure(maker, a.iter().map(|arg| (*arg).clone()).collect(), arity)))
}

/// Whether locations are in a set.
fn contained(value: &Column, container: &Column) -> Option<Shared> {
    let One(Val::Patch(patch)) = container else { return None };
    let places = places(value).filter(|_| !patch.object)?;
    let holds = |(i, j)| place(i, j).is_some_and(|key| patch.keys.binary_search(&key).is_ok());
    Some(Arc::new(Bool(places.into_iter().map(holds).collect())))
}
