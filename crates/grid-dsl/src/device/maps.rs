//! Functions of known calls, to be done for each element of a container: what closures are made of, from a graph.

use crate::dag::{DEEPEST, Dag, Node, NodeId};
use crate::kernels::{Gather, Instruction, MOST_COMPARED, Op};
use crate::prim::Prim;
use crate::value::{Closure, Function, Maker, Value};

/// Calls that a function may be made of.
const MOST: usize = 24;

/// Most fuel of a call with an element: operands and a result with a weight of some thousand each.
const PLAIN_FUEL: u64 = 1 << 16;

/// Most fuel of calls that take as much as sizes times sizes, or that copy grids.
const MUCH_FUEL: u64 = 1 << 21;

/// A map of a function over a container, or one call of it.
#[derive(Clone, Debug)]
pub(super) struct Map {
    pub(super) gather: Gather,
    /// The container and what the function has captured, in the order in which their errors count.
    pub(super) operands: Vec<NodeId>,
    /// Which of them is the container.
    pub(super) container: Option<usize>,
    /// Values of the function itself. An element is in slot 0, behind it are other operands, then these, then calls.
    pub(super) literals: Vec<Value>,
    pub(super) calls: Vec<Instruction>,
    /// The most fuel that one element takes.
    pub(super) fuel: u64,
}

impl Map {
    /// The first slot of literals.
    pub(super) fn literals_at(&self) -> u32 {
        (1 + self.operands.len() - usize::from(self.container.is_some())) as u32
    }

    /// The first slot of calls.
    pub(super) fn calls_at(&self) -> u32 {
        self.literals_at() + self.literals.len() as u32
    }

    /// Slots of an element.
    pub(super) fn slots(&self) -> usize {
        self.calls_at() as usize + self.calls.len()
    }

    /// Places of some elements that are laid out together; literals are there once.
    pub(super) fn places(&self, elements: u32) -> u64 {
        u64::from(elements) * (self.slots() - self.literals.len()) as u64 + self.literals.len() as u64
    }

    /// The map that a node is, if its function is known but for what it has captured.
    pub(super) fn of(dag: &Dag, node: &Node) -> Option<Self> {
        let (gather, function, container, args): (_, NodeId, _, &[NodeId]) = match node {
            Node::Prim(prim, args) => {
                let (gather, &[a, b]) = (Gather::of(*prim)?, args.as_slice()) else { return None };
                let first = matches!(gather, Gather::Mapply | Gather::Apply);
                if first { (gather, a, Some(b), &[]) } else { (gather, b, Some(a), &[]) }
            }
            Node::Call(callee, args) => (Gather::Call, *callee, None, args),
            _ => return None,
        };
        let mut making = Making { dag, captured: Vec::new(), literals: Vec::new(), calls: Vec::new() };
        making.capture(Known::Node(function))?;
        // What a call is given is like what the function has captured, and comes behind it.
        let given: Vec<Source> = args.iter().map(|&arg| making.source(Known::Node(arg))).collect();
        let given = if container.is_some() { vec![Source::Element] } else { given };
        making.call(Known::Node(function), given, DEEPEST)?;
        let Making { captured, literals, calls, .. } = making;
        let mut operands = captured.clone();
        // The function is the first argument of these, so that its errors come first.
        let at = if matches!(gather, Gather::Mapply | Gather::Apply) { operands.len() } else { 0 };
        if let Some(id) = container {
            operands.insert(at, id);
        }
        let literals_at = 1 + captured.len();
        let calls_at = literals_at + literals.len();
        let slot = |source: &Source| match source {
            Source::Element => 0,
            Source::Captured(at) => 1 + at,
            Source::Literal(at) => literals_at + at,
            Source::Call(at) => calls_at + at,
        };
        let instruction = |(at, call): (usize, &Call)| {
            let mut operands = [0; 4];
            operands.iter_mut().zip(&call.operands).for_each(|(to, from)| *to = slot(from) as u32);
            Instruction { op: call.op, target: (calls_at + at) as u32, operands, key: call.key }
        };
        let copies = calls.iter().any(|call| call.op == Op::Repeat);
        let fuel = |call: &Call| match call.op {
            Op::Manhattan | Op::Adjacent | Op::Hperiod | Op::Vperiod | Op::Occurrences => MUCH_FUEL,
            Op::Gravitate => 2 * MOST_COMPARED as u64,
            _ if copies => MUCH_FUEL,
            _ => PLAIN_FUEL,
        };
        Some(Self {
            gather,
            operands,
            container: container.map(|_| at),
            calls: calls.iter().enumerate().map(instruction).collect(),
            fuel: calls.iter().map(fuel).sum(),
            literals,
        })
    }
}

/// A value, or the node that gives it.
#[derive(Clone, Copy)]
enum Known<'a> {
    Value(&'a Value),
    Node(NodeId),
}

/// What a function is.
enum Parts<'a> {
    Prim(Prim),
    Made(Maker, Vec<Known<'a>>),
}

/// Where an operand comes from.
#[derive(Clone, Copy, PartialEq)]
enum Source {
    Element,
    Captured(usize),
    Literal(usize),
    Call(usize),
}

#[derive(PartialEq)]
struct Call {
    op: Op,
    key: u32,
    operands: Vec<Source>,
}

struct Making<'a> {
    dag: &'a Dag,
    captured: Vec<NodeId>,
    literals: Vec<Value>,
    calls: Vec<Call>,
}

fn maker(prim: Prim) -> Option<Maker> {
    Some(match prim {
        Prim::Compose => Maker::Compose,
        Prim::Chain => Maker::Chain,
        Prim::Matcher => Maker::Matcher,
        Prim::Fork => Maker::Fork,
        Prim::Rbind => Maker::Rbind,
        Prim::Lbind => Maker::Lbind,
        Prim::Power => Maker::Power,
        _ => return None,
    })
}

impl<'a> Making<'a> {
    /// The value of a literal.
    fn literal(&self, of: Known<'a>) -> Option<&'a Value> {
        match of {
            Known::Value(value) => Some(value),
            Known::Node(id) => match &self.dag.nodes()[id as usize] {
                Node::Literal(value) => Some(value),
                _ => None,
            },
        }
    }

    fn parts(&self, function: Known<'a>) -> Option<Parts<'a>> {
        if let Some(value) = self.literal(function) {
            let of =
                |closure: &'a Closure| Parts::Made(closure.maker(), closure.args().iter().map(Known::Value).collect());
            return match value {
                Value::Fn(Function::Prim(prim)) => Some(Parts::Prim(*prim)),
                Value::Fn(Function::Closure(closure)) => Some(of(closure)),
                _ => None,
            };
        }
        let Known::Node(id) = function else { return None };
        match &self.dag.nodes()[id as usize] {
            Node::Prim(prim, args) => {
                let maker = maker(*prim).filter(|maker| maker.arity() == args.len())?;
                Some(Parts::Made(maker, args.iter().map(|&arg| Known::Node(arg)).collect()))
            }
            _ => None,
        }
    }

    /// Lists the nodes whose values a function has captured, in the order in which their errors are its own.
    fn capture(&mut self, function: Known<'a>) -> Option<()> {
        let Parts::Made(maker, args) = self.parts(function)? else { return Some(()) };
        for (at, arg) in args.into_iter().enumerate() {
            if at < maker.functions() {
                self.capture(arg)?;
            } else {
                self.source(arg);
            }
        }
        Some(())
    }

    fn source(&mut self, of: Known<'a>) -> Source {
        match (self.literal(of), of) {
            (Some(value), _) => {
                let same = |other: &Value| other.to_text() == value.to_text();
                Source::Literal(self.literals.iter().position(same).unwrap_or_else(|| {
                    self.literals.push(value.clone());
                    self.literals.len() - 1
                }))
            }
            (None, Known::Node(id)) => {
                Source::Captured(self.captured.iter().position(|&other| other == id).unwrap_or_else(|| {
                    self.captured.push(id);
                    self.captured.len() - 1
                }))
            }
            // Every value is a literal.
            (None, Known::Value(_)) => Source::Element,
        }
    }

    fn prim(&mut self, prim: Prim, mut operands: Vec<Source>) -> Option<Source> {
        let op = Op::of(prim).filter(|_| operands.len() == prim.arity())?;
        let key = match op.function_at() {
            Some(at) => match operands.remove(at) {
                Source::Literal(at) => match &self.literals[at] {
                    Value::Fn(function) => op.key_of(function)?,
                    _ => return None,
                },
                _ => return None,
            },
            // Elements are many: each has fuel for so many comparisons.
            None => u32::from(op == Op::Gravitate),
        };
        let call = Call { op, key, operands };
        let at = self.calls.iter().position(|other| *other == call).unwrap_or(self.calls.len());
        if at == self.calls.len() {
            self.calls.push(call);
        }
        (at < MOST).then_some(Source::Call(at))
    }

    /// The calls of primitives that a call is; `None` if it may be something else.
    fn call(&mut self, function: Known<'a>, mut args: Vec<Source>, depth: usize) -> Option<Source> {
        let (maker, parts) = match self.parts(function).filter(|_| depth > 0)? {
            Parts::Prim(prim) => return self.prim(prim, args),
            Parts::Made(maker, parts) => (maker, parts),
        };
        let depth = depth - 1;
        match (maker, parts.as_slice()) {
            (Maker::Rbind, &[f, fixed]) => {
                args.push(self.source(fixed));
                self.call(f, args, depth)
            }
            (Maker::Lbind, &[f, fixed]) => {
                args.insert(0, self.source(fixed));
                self.call(f, args, depth)
            }
            _ if args.len() != 1 => None,
            (Maker::Compose, &[outer, f]) => {
                let x = self.call(f, args, depth)?;
                self.call(outer, vec![x], depth)
            }
            (Maker::Chain, &[h, g, f]) => {
                let x = self.call(f, args, depth)?;
                let x = self.call(g, vec![x], depth)?;
                self.call(h, vec![x], depth)
            }
            (Maker::Matcher, &[f, target]) => {
                let x = self.call(f, args, depth)?;
                let target = self.source(target);
                self.prim(Prim::Equality, vec![x, target])
            }
            (Maker::Fork, &[outer, a, b]) => {
                let x = self.call(a, args.clone(), depth)?;
                let y = self.call(b, args, depth)?;
                self.call(outer, vec![x, y], depth)
            }
            (Maker::Power, &[f, n]) => {
                let n = self.literal(n).and_then(Value::as_int).filter(|n| (1..=MOST as i32).contains(n))?;
                let mut x = args.remove(0);
                for _ in 0..n {
                    x = self.call(f, vec![x], depth)?;
                }
                Some(x)
            }
            _ => None,
        }
    }
}
