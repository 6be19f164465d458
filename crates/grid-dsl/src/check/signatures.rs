//! What functions take and give, as types.
//!
//! The table of primitives names kinds in short: I Int, B Bool, N Numerical, P Pair, G Grid, O Object, X Indices, Os
//! Objects, Pt Patch, E Element, Pc Piece, C container, CC container of containers, T tuple, S set, F function, A any;
//! results also CP container of pairs, Is set of numbers, Ti tuple of numbers, STi set of those, TG tuple of grids, `=1` the type of the first argument, `*` a rule below.

use super::types::{FnType, Type};
use crate::prim::Prim;
use crate::prim::Prim as P;
use crate::value::Maker;

/// Why a call must fail.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Mismatch {
    /// An argument, counted from 0, is never of the type that the function takes.
    Argument { prim: Prim, at: usize, expected: Type, found: Type },
    /// The number of arguments.
    Arity { callee: String, expected: usize, found: usize },
    /// What is called is no function.
    NoFunction(Type),
}

/// Types of calls. Functions of functions can be many calls: there is a bound to how many are followed.
pub(super) struct Caller {
    pub(super) steps: usize,
}

type Called = Result<Type, Mismatch>;

fn named(code: &str) -> Type {
    match code {
        "I" => Type::Int,
        "B" => Type::Bool,
        "N" => Type::Numerical,
        "P" => Type::Pair,
        "G" => Type::Grid,
        "O" => Type::object(),
        "X" => Type::indices(),
        "Os" => Type::set(Type::object()),
        "Pt" => Type::Patch,
        "E" => Type::Element,
        "Pc" => Type::Piece,
        "C" | "CC" => Type::container(Type::Any),
        "T" => Type::tuple(Type::Any),
        "S" => Type::set(Type::Any),
        "F" => Type::Fn(FnType::Unknown),
        "CP" => Type::container(Type::Pair),
        "Is" => Type::set(Type::Int),
        // Truth values in grids make numbers of them; nothing here depends on the difference.
        "Ti" => Type::tuple(Type::Numerical),
        "STi" => Type::set(Type::tuple(Type::Numerical)),
        "TG" => Type::tuple(Type::Grid),
        _ => Type::Any,
    }
}

/// The type of colours of an element.
fn colour(element: &Type) -> Type {
    if *element == Type::Grid || *element == Type::object() { Type::Int } else { Type::Any }
}

/// How many arguments a function takes, if that is known.
pub(super) fn arity(f: &FnType) -> Option<usize> {
    match f {
        FnType::Unknown => None,
        FnType::Prim(prim) => Some(prim.arity()),
        FnType::Closure(closure) => match closure.0 {
            Maker::Rbind | Maker::Lbind => match closure.1.first() {
                Some(Type::Fn(inner)) => arity(inner).map(|n| match n {
                    2 => 1,
                    3 => 2,
                    _ => 3,
                }),
                _ => None,
            },
            Maker::Power => None,
            _ => Some(1),
        },
    }
}

impl Caller {
    /// The type of a call, or why it must fail.
    pub(super) fn call(&mut self, f: &Type, args: &[Type]) -> Called {
        if self.steps == 0 {
            return Ok(Type::Any);
        }
        self.steps -= 1;
        let f = match f {
            Type::Fn(f) => f,
            other if other.disjoint(&Type::Fn(FnType::Unknown)) => return Err(Mismatch::NoFunction(other.clone())),
            _ => return Ok(Type::Any),
        };
        if let Some(expected) = arity(f).filter(|&n| n != args.len()) {
            let callee = match f {
                FnType::Prim(prim) => format!("`{}`", prim.name()),
                _ => "this function".to_owned(),
            };
            return Err(Mismatch::Arity { callee, expected, found: args.len() });
        }
        match f {
            FnType::Unknown => Ok(Type::Any),
            FnType::Prim(prim) => self.prim(*prim, args),
            FnType::Closure(closure) => self.closure(closure.0, &closure.1, args),
        }
    }

    fn closure(&mut self, maker: Maker, parts: &[Type], args: &[Type]) -> Called {
        match (maker, parts) {
            (Maker::Compose, [outer, inner]) => {
                let x = self.call(inner, args)?;
                self.call(outer, &[x])
            }
            (Maker::Chain, [h, g, f]) => {
                let x = self.call(f, args)?;
                let x = self.call(g, &[x])?;
                self.call(h, &[x])
            }
            (Maker::Matcher, [f, _]) => self.call(f, args).map(|_| Type::Bool),
            (Maker::Fork, [outer, a, b]) => {
                let (x, y) = (self.call(a, args)?, self.call(b, args)?);
                self.call(outer, &[x, y])
            }
            (Maker::Rbind, [f, fixed]) => self.call(f, &[args, std::slice::from_ref(fixed)].concat()),
            (Maker::Lbind, [f, fixed]) => self.call(f, &[std::slice::from_ref(fixed), args].concat()),
            _ => Ok(Type::Any),
        }
    }

    fn prim(&mut self, prim: Prim, args: &[Type]) -> Called {
        let (params, result) = prim.entry().kinds.split_once(" -> ").unwrap_or_default();
        for (at, (code, found)) in params.split(' ').zip(args).enumerate() {
            let expected = named(code);
            if expected.disjoint(found) {
                return Err(Mismatch::Argument { prim, at, expected, found: found.clone() });
            }
        }
        // Functions on grids move cells without looking: of what may be no grid they make what may be none.
        let grids = params.split(' ').zip(args).all(|(code, found)| code != "G" || *found == Type::Grid);
        let rows = || Type::tuple(Type::tuple(Type::Any));
        Ok(match result {
            "=1" => args[0].clone(),
            "*" => self.by_rule(prim, args),
            "G" if !grids => rows(),
            "TG" if !grids => Type::tuple(rows()),
            "O" if !grids => Type::set(Type::Any),
            "Os" if !grids => Type::set(Type::set(Type::Any)),
            code => named(code),
        })
    }

    /// What a function makes of an element. A call that must fail says nothing: there may be no elements.
    fn image(&mut self, f: &Type, args: &[Type]) -> Type {
        self.call(f, args).unwrap_or(Type::Any)
    }

    fn by_rule(&mut self, prim: Prim, args: &[Type]) -> Type {
        let e = |at: usize| args[at].element();
        let kind = |at: usize, element: Type| args[at].like(element);
        // Any two types: only what is the same is known.
        let join = |a: Type, b: Type| if a == b { a } else { Type::Any };
        match prim {
            P::Add | P::Subtract | P::Multiply | P::Divide => match (&args[0], &args[1]) {
                (Type::Int | Type::Bool, Type::Int | Type::Bool) => Type::Int,
                (Type::Pair, _) | (_, Type::Pair) => Type::Pair,
                _ => Type::Numerical,
            },
            P::Invert | P::Double | P::Halve | P::Increment | P::Decrement | P::Crement | P::Sign => match args[0] {
                Type::Int | Type::Bool => Type::Int,
                Type::Pair => Type::Pair,
                _ => Type::Numerical,
            },
            P::Both | P::Either => join(args[0].clone(), args[1].clone()),
            P::Branch => join(args[1].clone(), args[2].clone()),
            P::Astuple => match (&args[0], &args[1]) {
                (Type::Int | Type::Bool, Type::Int | Type::Bool) => Type::Pair,
                (Type::Int | Type::Bool, Type::Pair) => Type::Cell,
                (a, b) => Type::tuple(join(a.clone(), b.clone())),
            },
            P::Tophalf | P::Bottomhalf | P::Vupscale => match &args[0] {
                Type::Grid => Type::Grid,
                other => Type::tuple(other.element()),
            },
            P::Vconcat => Type::tuple(join(e(0), e(1))),
            P::Color | P::Mostcolor | P::Leastcolor => colour(&args[0]),
            P::Palette | P::PF => Type::set(colour(&args[0])),
            P::PG | P::PO => Type::tuple(colour(&args[0])),
            P::Toivec | P::Tojvec => match args[0] {
                Type::Int | Type::Bool => Type::Pair,
                _ => Type::tuple(Type::Any),
            },
            P::Combine => kind(0, join(e(0), e(1))),
            P::Difference | P::Sfilter => kind(0, e(0)),
            P::Remove => kind(1, e(1)),
            P::Dedupe | P::Order | P::Totuple | P::DifferenceTuple | P::DedupePairTuple => Type::tuple(e(0)),
            P::Repeat => Type::tuple(args[0].clone()),
            P::Merge | P::Mfilter => kind(0, e(0).element()),
            P::Argmax | P::Argmin | P::Mostcommon | P::Leastcommon | P::Other | P::First | P::Last | P::Extract => {
                match args[0] {
                    Type::Cell => Type::Any,
                    _ => e(0),
                }
            }
            P::Initset => Type::set(args[0].clone()),
            P::Insert => Type::set(join(args[0].clone(), e(1))),
            P::Sizefilter | P::Colorfilter => Type::set(e(0)),
            P::Product => Type::set(Type::tuple(join(e(0), e(1)))),
            P::Pair => Type::tuple(Type::tuple(join(e(0), e(1)))),
            P::Compose => Type::closure(Maker::Compose, args),
            P::Chain => Type::closure(Maker::Chain, args),
            P::Matcher => Type::closure(Maker::Matcher, args),
            P::Fork => Type::closure(Maker::Fork, args),
            P::Rbind => Type::closure(Maker::Rbind, args),
            P::Lbind => Type::closure(Maker::Lbind, args),
            P::Power => Type::closure(Maker::Power, args),
            P::Apply => {
                let image = self.image(&args[0], &[e(1)]);
                kind(1, image)
            }
            P::Mapply => {
                let image = self.image(&args[0], &[e(1)]);
                kind(1, image.element())
            }
            P::Rapply => {
                let image = self.image(&e(0), &args[1..]);
                kind(0, image)
            }
            P::Papply => Type::tuple(self.image(&args[0], &[e(1), e(2)])),
            P::Mpapply => Type::tuple(self.image(&args[0], &[e(1), e(2)]).element()),
            P::Prapply => Type::set(self.image(&args[0], &[e(1), e(2)])),
            P::Shift | P::Normalize => match args[0].is_set() {
                Some(true) => args[0].clone(),
                _ => Type::Patch,
            },
            P::Hmirror | P::Vmirror | P::Dmirror | P::Cmirror | P::MirRotF | P::Upscale => {
                match (&args[0], args[0].is_set()) {
                    (set, Some(true)) => set.clone(),
                    (Type::Grid, _) => Type::Grid,
                    (_, Some(false)) => Type::tuple(Type::Any),
                    _ => Type::container(Type::Any),
                }
            }
            _ => Type::Any,
        }
    }
}
