//! Calls of functions that are known before anything runs, as the calls of primitives that they are.

use std::collections::HashMap;

use super::{Dag, Key, Member, Node, NodeId};
use crate::error::Limits;
use crate::machine::Machine;
use crate::prim::Prim;
use crate::value::{Function, Maker, Value};

/// Calls of primitives that one call may become.
const MOST: usize = 48;

/// Functions inside of functions that are looked into: fewer than calls may be nested on a device.
pub(crate) const DEEPEST: usize = 6;

/// How much fuel the calls of closures inside of one call take at most, each of which takes 1.
pub(crate) const OVERHEAD: u64 = 4 * MOST as u64;

/// Whether a call is one of primitives alone, each with as many arguments as it takes.
fn is_plain(function: &Function, args: usize, left: &mut usize, depth: usize) -> bool {
    let closure = match function {
        Function::Prim(prim) => {
            let fits = prim.arity() == args && *left > 0;
            *left = left.saturating_sub(1);
            return fits;
        }
        Function::Closure(closure) => closure,
    };
    if args != function.arity() || depth == 0 {
        return false;
    }
    let mut inner = |value: &Value, args: usize| match value {
        Value::Fn(function) => is_plain(function, args, left, depth - 1),
        _ => false,
    };
    match (closure.maker(), closure.args()) {
        (Maker::Compose, [outer, f]) => inner(f, args) && inner(outer, 1),
        (Maker::Chain, [h, g, f]) => inner(f, args) && inner(g, 1) && inner(h, 1),
        (Maker::Matcher, [f, _]) => inner(f, args) && *left > 0,
        (Maker::Fork, [outer, a, b]) => inner(a, args) && inner(b, args) && inner(outer, 2),
        (Maker::Rbind | Maker::Lbind, [f, _]) => inner(f, args + 1),
        (Maker::Power, [f, n]) => n.as_int().is_some_and(|n| (1..=n).all(|k| inner(f, if k == 1 { args } else { 1 }))),
        _ => false,
    }
}

/// A graph that is being made of another one.
#[derive(Default)]
struct Making {
    dag: Dag,
    known: HashMap<Key, NodeId>,
    /// Nodes that the last call became.
    made: Vec<NodeId>,
}

impl Making {
    fn literal(&mut self, value: &Value) -> NodeId {
        self.dag.number(&mut self.known, Key::Literal(value.to_text()), Some(value.clone()))
    }

    fn prim(&mut self, prim: Prim, args: Vec<NodeId>) -> NodeId {
        let id = self.dag.number(&mut self.known, Key::Prim(prim, args), None);
        self.made.push(id);
        id
    }

    /// The nodes of a call for which [`is_plain`] is true.
    fn call(&mut self, function: &Value, mut args: Vec<NodeId>) -> NodeId {
        let closure = match function {
            Value::Fn(Function::Prim(prim)) => return self.prim(*prim, args),
            Value::Fn(Function::Closure(closure)) => closure.clone(),
            other => return self.literal(other),
        };
        match (closure.maker(), closure.args()) {
            (Maker::Compose, [outer, f]) => {
                let x = self.call(f, args);
                self.call(outer, vec![x])
            }
            (Maker::Chain, [h, g, f]) => {
                let x = self.call(f, args);
                let x = self.call(g, vec![x]);
                self.call(h, vec![x])
            }
            (Maker::Matcher, [f, target]) => {
                let x = self.call(f, args);
                let target = self.literal(target);
                self.prim(Prim::Equality, vec![x, target])
            }
            (Maker::Fork, [outer, a, b]) => {
                let x = self.call(a, args.clone());
                let y = self.call(b, args);
                self.call(outer, vec![x, y])
            }
            (Maker::Rbind, [f, fixed]) => {
                args.push(self.literal(fixed));
                self.call(f, args)
            }
            (Maker::Lbind, [f, fixed]) => {
                args.insert(0, self.literal(fixed));
                self.call(f, args)
            }
            (Maker::Power, [f, n]) => {
                let mut x = self.call(f, args);
                for _ in 1..n.as_int().unwrap_or(1) {
                    x = self.call(f, vec![x]);
                }
                x
            }
            _ => self.literal(function),
        }
    }
}

impl Dag {
    /// The graph with calls of functions of constants as the calls of primitives that they are. Values and classes of errors
    /// stay what they are; a member's lines are all nodes that its lines became.
    pub(crate) fn inlined(&self, limits: &Limits) -> Self {
        let mut making = Making::default();
        let mut constants: Vec<Option<Value>> = Vec::with_capacity(self.nodes.len());
        let mut became: Vec<Vec<NodeId>> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let value = match node {
                Node::Literal(value) => Some(value.clone()),
                Node::Prim(prim, args) => {
                    let args: Option<Vec<Value>> = args.iter().map(|&a| constants[a as usize].clone()).collect();
                    args.and_then(|args| Machine::new(limits).prim(*prim, &args).ok())
                }
                _ => None,
            };
            constants.push(value);
            // The last of the nodes that another one became is its value.
            let new = |id: &NodeId| became[*id as usize].last().copied().unwrap_or_default();
            let called = match node {
                Node::Call(callee, args) => match &constants[*callee as usize] {
                    Some(value @ Value::Fn(function)) if is_plain(function, args.len(), &mut { MOST }, DEEPEST) => {
                        Some((value.clone(), args.iter().map(new).collect::<Vec<_>>()))
                    }
                    _ => None,
                },
                _ => None,
            };
            let key = match node {
                Node::Input(name) => Key::Input(name),
                Node::Literal(value) => Key::Literal(value.to_text()),
                Node::Prim(prim, args) => Key::Prim(*prim, args.iter().map(new).collect()),
                Node::Call(callee, args) => Key::Call(new(callee), args.iter().map(new).collect()),
            };
            // Functions of constants are constants themselves.
            if let (Node::Prim(..), Some(function @ Value::Fn(_))) = (node, constants.last().and_then(Option::as_ref))
                && u64::from(function.weight()) <= OVERHEAD / 4
            {
                became.push(vec![making.literal(function)]);
                continue;
            }
            became.push(if let Some((function, args)) = called {
                making.call(&function, args);
                std::mem::take(&mut making.made)
            } else {
                let literal = if let Node::Literal(value) = node { Some(value.clone()) } else { None };
                vec![making.dag.number(&mut making.known, key, literal)]
            });
        }
        let new = |id: &NodeId| became[*id as usize].last().copied().unwrap_or_default();
        let member = |member: &Member| Member {
            lines: member.lines.iter().flat_map(|&id| became[id as usize].iter().copied()).collect(),
            outputs: member.outputs.iter().map(new).collect(),
            guards: member.guards.iter().map(new).collect(),
            as_written: false,
            ..member.clone()
        };
        making.dag.members = self.members.iter().map(member).collect();
        making.dag.source_lines = self.source_lines;
        making.dag
    }
}
