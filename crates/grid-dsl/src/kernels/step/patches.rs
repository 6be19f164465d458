//! Patches from patches, and numbers.

use super::value::{Arg, Done, Grid, Out, Patch};
use super::{Form, Op, Spill};
use crate::error::ErrClass;
use crate::kernels::SIDE;

/// Whether a location lies on the outline of a box: its corner, height and width.
fn on_outline(at: (i64, i64), corner: (i64, i64), (h, w): (i64, i64)) -> bool {
    let (r, c) = (at.0 - corner.0, at.1 - corner.1);
    let inside = (0..h).contains(&r) && (0..w).contains(&c);
    inside && (r == 0 || r == h - 1 || c == 0 || c == w - 1)
}

/// Functions of one patch.
pub(super) fn shaped(op: Op, v: &[Arg; 4]) -> Done {
    let x = if op == Op::Recolor { &v[1] } else { &v[0] };
    // What is empty is shifted by any tuple.
    if (op == Op::Recolor && !v[0].comparable()) || (op == Op::Shift && !v[1].tuple()) {
        return Err(Out::fails(ErrClass::Type));
    }
    let p = Patch::read(x)?;
    let (corner, h, w) = ((p.i0, p.j0), p.h as i64, p.w as i64);
    let (bottom, right) = (p.i0 + h - 1, p.j0 + w - 1);
    match op {
        Op::Recolor => {
            return Ok(match v[0].colour() {
                _ if p.is_empty() => Out::empty(),
                Some(c) => Out::patch(true, corner, |at| p.has(at), |_| c),
                None if v[0].number() => Out::Spill(Spill::Kind),
                None => Out::fails(ErrClass::Type),
            });
        }
        // A tuple without elements stays one; and that is what corners are.
        Op::Ulcorner | Op::Urcorner | Op::Llcorner | Op::Lrcorner if p.is_empty() => return Ok(Out::hollow()),
        Op::Shift | Op::Normalize | Op::Box if x.hollow() => return Ok(Out::hollow()),
        Op::Toindices | Op::Shift | Op::Normalize | Op::Backdrop | Op::Delta | Op::Box if p.is_empty() => {
            return Ok(Out::empty());
        }
        Op::Corners if p.is_empty() => return Err(Out::Spill(Spill::Class)),
        _ if p.is_empty() => return Err(Out::fails(ErrClass::Empty)),
        _ => {}
    }
    let inside = |at: (i64, i64)| (p.i0..=bottom).contains(&at.0) && (p.j0..=right).contains(&at.1);
    let moved = |to: (i64, i64)| {
        let back = |at: (i64, i64)| (at.0 - to.0 + p.i0, at.1 - to.1 + p.j0);
        Out::patch(p.is_object(), to, |at| p.has(back(at)), |at| p.colour(back(at)))
    };
    Ok(match op {
        Op::Toindices => Out::indices(corner, |at| p.has(at)),
        Op::Shift => match v[1].pair() {
            None => Out::fails(ErrClass::Type),
            Some(by) if p.overflows(by) => Out::fails(ErrClass::Overflow),
            Some(by) => moved((p.i0 + by.0, p.j0 + by.1)),
        },
        Op::Normalize => moved((0, 0)),
        Op::Uppermost => Out::number(p.i0),
        Op::Lowermost => Out::number(bottom),
        Op::Leftmost => Out::number(p.j0),
        Op::Rightmost => Out::number(right),
        Op::Ulcorner => Out::pair(p.i0, p.j0),
        Op::Urcorner => Out::pair(p.i0, right),
        Op::Llcorner => Out::pair(bottom, p.j0),
        Op::Lrcorner => Out::pair(bottom, right),
        Op::Corners => Out::indices(corner, |(i, j)| (i == p.i0 || i == bottom) && (j == p.j0 || j == right)),
        Op::Center => Out::pair(p.i0 + h / 2, p.j0 + w / 2),
        Op::Backdrop => Out::indices(corner, inside),
        Op::Delta => Out::indices(corner, |at| inside(at) && !p.has(at)),
        Op::Box => Out::indices(corner, |at| on_outline(at, corner, (h, w))),
        Op::Inbox => {
            let ends = |from: i64, to: i64| ((from + 1).min(to - 1), (from + 1).max(to - 1));
            let ((top, last), (left, end)) = (ends(p.i0, bottom), ends(p.j0, right));
            Out::indices((top, left), |at| on_outline(at, (top, left), (last - top + 1, end - left + 1)))
        }
        _ if h + 2 > SIDE as i64 || w + 2 > SIDE as i64 => Out::Spill(Spill::Size),
        _ => {
            let corner = (p.i0 - 1, p.j0 - 1);
            Out::indices(corner, |at| on_outline(at, corner, (h + 2, w + 2)))
        }
    })
}

/// Sets of locations, equality and choice.
pub(super) fn combined(op: Op, v: &[Arg; 4]) -> Done {
    let (a, b) = (&v[0], &v[1]);
    match op {
        Op::Branch => return Ok(Out::Copy(if a.truth() { 1 } else { 2 })),
        Op::Equality if a.number() && b.number() => return Ok(Out::bool(a.a == b.a)),
        // They are objects, too.
        Op::Equality if a.is(Form::Lines) || b.is(Form::Lines) => return Err(Out::Spill(Spill::Kind)),
        Op::Equality => {
            let form = |v: &Arg| if v.number() { Form::Int as i32 } else { v.kind };
            // Values of two forms are never equal: what is empty has one form.
            if form(a) != form(b) {
                return Ok(Out::bool(false));
            }
            if a.is(Form::Nothing) {
                return Ok(Out::bool(true));
            }
            if let (Some(a), Some(b)) = (a.pair(), b.pair()) {
                return Ok(Out::bool(a == b));
            }
            if let (Some(a), Some(b)) = (Grid::new(a), Grid::new(b)) {
                return Ok(Out::bool(a.h == b.h && a.w == b.w && a.all().eq(b.all())));
            }
        }
        Op::Intersection if !(a.set() && b.set()) => return Err(Out::fails(ErrClass::Type)),
        _ if !(a.tuple() || a.set()) || !(b.tuple() || b.set()) => return Err(Out::fails(ErrClass::Type)),
        _ => {
            // Sets of sets have nothing in common with patches, whose elements are tuples, and neither has anything with
            // numbers.
            let others = [Form::Objects, Form::Lines, Form::Ordered, Form::Pair];
            let apart = (a.patch() && others.iter().any(|&form| b.is(form)))
                || (b.patch() && others[..2].iter().any(|&form| a.is(form)));
            match op {
                Op::Intersection if apart => return Ok(Out::empty()),
                Op::Difference if apart => return Ok(Out::Copy(0)),
                _ => {}
            }
        }
    }
    let objects = a.is(Form::Object) && b.is(Form::Object);
    let (Some(p), Some(q)) = (Patch::new(a), Patch::new(b)) else { return Err(Out::Spill(Spill::Kind)) };
    let corner = (p.i0, p.j0);
    // Whether an element of the first, which is there, is one of the second, too.
    let shares = |at: (i64, i64)| a.kind == b.kind && q.has(at) && (!objects || p.colour(at) == q.colour(at));
    Ok(match op {
        Op::Equality => {
            let same = (p.i0, p.j0, p.h, p.w) == (q.i0, q.j0, q.h, q.w);
            let rows = p.i0..p.i0 + p.h as i64;
            let all = rows.flat_map(|i| (p.j0..p.j0 + p.w as i64).map(move |j| (i, j)));
            Out::bool(
                same && all
                    .into_iter()
                    .all(|at| p.has(at) == q.has(at) && (!objects || !p.has(at) || p.colour(at) == q.colour(at))),
            )
        }
        Op::Intersection => Out::patch(p.is_object(), corner, |at| p.has(at) && shares(at), |at| p.colour(at)),
        Op::Difference => Out::patch(p.is_object(), corner, |at| p.has(at) && !shares(at), |at| p.colour(at)),
        _ if p.is_empty() => Out::Copy(1),
        _ if q.is_empty() => Out::Copy(0),
        // Cells and locations in one set.
        _ if a.kind != b.kind => Out::Spill(Spill::Kind),
        _ => {
            let corner = (p.i0.min(q.i0), p.j0.min(q.j0));
            let bottom = (p.i0 + p.h as i64).max(q.i0 + q.h as i64);
            let right = (p.j0 + p.w as i64).max(q.j0 + q.w as i64);
            if bottom - corner.0 > SIDE as i64 || right - corner.1 > SIDE as i64 {
                return Err(Out::Spill(Spill::Size));
            }
            if objects && p.cells().into_iter().any(|at| q.has(at) && !shares(at)) {
                // Two colours on one location.
                return Err(Out::Spill(Spill::Class));
            }
            let colour = |at| if p.has(at) { p.colour(at) } else { q.colour(at) };
            Out::patch(objects, corner, |at| p.has(at) || q.has(at), colour)
        }
    })
}

/// Numbers, pairs and the neighbours of a location.
pub(super) fn counted(op: Op, v: &[Arg; 4]) -> Done {
    let (a, b) = (&v[0], &v[1]);
    let part = |v: &Arg| match v.pair() {
        Some(pair) => Some(pair),
        None => v.number().then_some((i64::from(v.a), i64::from(v.a))),
    };
    let result = |single: bool, (i, j): (i64, i64)| if single { Out::number(i) } else { Out::pair(i, j) };
    let type_error = || Err(Out::fails(ErrClass::Type));
    Ok(match op {
        Op::Add | Op::Subtract | Op::Multiply => {
            let (Some(x), Some(y)) = (part(a), part(b)) else { return type_error() };
            let f = |x: i64, y: i64| match op {
                Op::Add => x + y,
                Op::Subtract => x - y,
                _ => x * y,
            };
            result(a.number() && b.number(), (f(x.0, y.0), f(x.1, y.1)))
        }
        Op::Invert | Op::Double | Op::Halve | Op::Increment | Op::Decrement | Op::Crement | Op::Sign => {
            let Some(x) = part(a) else { return type_error() };
            let f = |n: i64| match op {
                Op::Invert => -n,
                Op::Double => 2 * n,
                Op::Halve => n.div_euclid(2),
                Op::Increment => n + 1,
                Op::Decrement => n - 1,
                Op::Crement => n + n.signum(),
                _ => n.signum(),
            };
            result(a.number(), (f(x.0), f(x.1)))
        }
        Op::Dneighbors | Op::Ineighbors | Op::Neighbors => {
            let Some((i, j)) = a.pair() else { return type_error() };
            let wanted = |(di, dj): (i64, i64)| match op {
                Op::Dneighbors => di + dj == 1,
                Op::Ineighbors => di + dj == 2 && di == dj,
                _ => (di, dj) != (0, 0) && di <= 1 && dj <= 1,
            };
            Out::indices((i - 1, j - 1), |at| wanted(((at.0 - i).abs(), (at.1 - j).abs())))
        }
        Op::Hfrontier | Op::Vfrontier => {
            let Some((i, j)) = a.pair() else { return type_error() };
            // Always 30 cells, whatever the grid.
            let short = 0..30;
            if op == Op::Hfrontier {
                Out::indices((i, 0), |at| at.0 == i && short.contains(&at.1))
            } else {
                Out::indices((0, j), |at| at.1 == j && short.contains(&at.0))
            }
        }
        Op::Connect => {
            let (Some(x), Some(y)) = (a.pair(), b.pair()) else { return type_error() };
            let (di, dj) = (y.0 - x.0, y.1 - x.1);
            if di != 0 && dj != 0 && di.abs() != dj.abs() {
                return Ok(Out::empty());
            }
            let steps = di.abs().max(dj.abs());
            if steps >= SIDE as i64 {
                return Err(Out::Spill(Spill::Size));
            }
            let cells: Vec<_> = (0..=steps).map(|k| (x.0 + k * di.signum(), x.1 + k * dj.signum())).collect();
            Out::indices((x.0.min(y.0), x.1.min(y.1)), |at| cells.contains(&at))
        }
        Op::Astuple if a.is(Form::Int) && b.is(Form::Int) => Out::scalar(Form::Pair, a.a, b.a),
        Op::Toivec if a.is(Form::Int) => Out::scalar(Form::Pair, a.a, 0),
        Op::Tojvec if a.is(Form::Int) => Out::scalar(Form::Pair, 0, a.a),
        Op::Astuple => Out::Spill(Spill::Kind),
        Op::Flip => Out::bool(!a.truth()),
        Op::Both => Out::Copy(usize::from(a.truth())),
        Op::Either => Out::Copy(usize::from(!a.truth())),
        Op::Greater => greater(a, b),
        Op::Toivec | Op::Tojvec if a.comparable() => Out::Spill(Spill::Kind),
        _ if !a.number() => Out::fails(ErrClass::Type),
        Op::Even => Out::bool(a.a & 1 == 0),
        _ => Out::bool(a.a > 0),
    })
}

/// Whether the first is above the second: sets compare by their sizes.
fn greater(a: &Arg, b: &Arg) -> Out {
    if a.number() && b.number() {
        return Out::bool(a.a > b.a);
    }
    if let (Some(a), Some(b)) = (a.pair(), b.pair()) {
        return Out::bool(a > b);
    }
    if let (Some(p), Some(q)) = (Patch::new(a), Patch::new(b)) {
        return Out::bool(p.count() > q.count());
    }
    // Tuples and sets of others.
    let alike = (a.tuple() && b.tuple()) || (a.set() && b.set());
    if alike { Out::Spill(Spill::Kind) } else { Out::fails(ErrClass::Type) }
}
