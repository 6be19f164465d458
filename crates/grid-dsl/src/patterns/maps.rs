//! P1 and P3: several maps whose functions are called in one traversal, each function once an element.

use super::{Read, Slot, within_fuel};
use crate::dag::NodeId;
use crate::error::{ErrClass, Limits, Result};
use crate::machine::Machine;
use crate::order::{ascending, extreme};
use crate::prim::{Images, Prim, merge, part, rebuilt};
use crate::value::Value;

/// One map: what it does with the images of the container's elements.
#[derive(Clone, Debug)]
pub(super) struct Map {
    pub(super) node: NodeId,
    pub(super) prim: Prim,
    pub(super) function: NodeId,
    pub(super) container: NodeId,
}

/// Maps over one container, or of one function over several.
#[derive(Clone, Debug)]
pub(super) struct Maps(pub(super) Vec<Map>);

impl Map {
    /// The map that a call of a primitive is.
    pub(super) fn read(node: NodeId, prim: Prim, args: &[NodeId]) -> Option<Self> {
        let (function, container) = match (prim, args) {
            (Prim::Apply | Prim::Mapply, [f, c])
            | (
                Prim::Sfilter | Prim::Mfilter | Prim::Order | Prim::Argmax | Prim::Argmin | Prim::Valmax | Prim::Valmin,
                [c, f],
            ) => (*f, *c),
            _ => return None,
        };
        Some(Self { node, prim, function, container })
    }

    /// The result from the images of all elements.
    fn finish(&self, m: &mut Machine, container: &Value, function: &Value, images: &[Value]) -> Result<Value> {
        let all = container.items().ok_or(ErrClass::Type)?;
        let element = |at: usize| all[at].clone();
        let kept = || all.iter().zip(images).filter(|(_, image)| image.truth()).map(|(v, _)| v.clone()).collect();
        match self.prim {
            Prim::Apply => rebuilt(m, container, images.to_vec()),
            Prim::Mapply => {
                let images = rebuilt(m, container, images.to_vec())?;
                merge(m, &[images])
            }
            Prim::Sfilter => Ok(part(container, kept())),
            Prim::Mfilter => merge(m, &[part(container, kept())]),
            Prim::Order => Ok(Value::tuple(ascending(images)?.into_iter().map(element).collect())),
            Prim::Argmax | Prim::Argmin => {
                extreme(images, self.prim == Prim::Argmax)?.map(element).ok_or(ErrClass::Empty)
            }
            _ => match extreme(images, self.prim == Prim::Valmax)? {
                Some(at) => Ok(images[at].clone()),
                None => m.call_value(function, &[Value::Int(0)]),
            },
        }
    }
}

/// A function on the elements of a container, and what came out.
struct Pass<'l> {
    function: NodeId,
    container: NodeId,
    machine: Machine<'l>,
    images: Images,
    failed: Option<ErrClass>,
}

impl Pass<'_> {
    fn step(&mut self, function: &Value, element: &Value) {
        if self.failed.is_none() {
            let image = self.machine.call_value(function, std::slice::from_ref(element));
            let kept = image.and_then(|image| self.images.push(&self.machine, image));
            self.failed = kept.err();
        }
    }
}

impl Maps {
    pub(super) fn run(&self, read: &Read, limits: &Limits) -> Option<Vec<(NodeId, Slot)>> {
        let mut containers: Vec<NodeId> = self.0.iter().map(|map| map.container).collect();
        containers.sort_unstable();
        containers.dedup();
        let mut passes: Vec<Pass> = Vec::new();
        for map in &self.0 {
            let same = |pass: &Pass| (pass.function, pass.container) == (map.function, map.container);
            let usable = read(map.function).is_ok_and(|f| f.as_function().is_some());
            let usable = usable && read(map.container).is_ok_and(|c| c.items().is_some());
            if usable && !passes.iter().any(same) {
                let machine = Machine::new(limits);
                let (function, container) = (map.function, map.container);
                passes.push(Pass { function, container, machine, images: Images::new(), failed: None });
            }
        }
        for container in containers {
            let Ok(elements) = read(container) else { continue };
            for element in elements.items().unwrap_or_default() {
                for pass in passes.iter_mut().filter(|pass| pass.container == container) {
                    pass.step(read(pass.function).ok()?, element);
                }
            }
        }
        let done: Vec<_> = passes
            .into_iter()
            .map(|p| ((p.function, p.container), p.machine.used(), p.failed, p.images.done()))
            .collect();
        let mut slots = Vec::with_capacity(self.0.len());
        for map in &self.0 {
            let pass = done.iter().find(|(key, ..)| *key == (map.function, map.container));
            slots.push((map.node, map.slot(read, limits, pass)?));
        }
        within_fuel(slots, limits)
    }
}

type Done = ((NodeId, NodeId), u64, Option<ErrClass>, Vec<Value>);

impl Map {
    fn slot(&self, read: &Read, limits: &Limits, pass: Option<&Done>) -> Option<Slot> {
        let (first, second) = match self.prim {
            Prim::Apply | Prim::Mapply => (self.function, self.container),
            _ => (self.container, self.function),
        };
        // The leftmost argument that failed counts.
        let args = match (read(first), read(second)) {
            (Err(class), _) | (_, Err(class)) => return Some((Err(class), 0)),
            (Ok(a), Ok(b)) => [a, b],
        };
        let start = 1 + args.iter().map(|a| u64::from(a.weight())).sum::<u64>();
        let (container, function) = (read(self.container).ok()?, read(self.function).ok()?);
        // What is no function or no container fails in ways of its own.
        let (_, used, failed, images) = pass?;
        match failed {
            // Predicates are not kept: their weight is no limit.
            Some(ErrClass::Limit | ErrClass::Fuel) => None,
            Some(class) => Some((Err(*class), start + used)),
            None => {
                let mut machine = Machine::new(limits);
                let value = self.finish(&mut machine, container, function, images).and_then(|v| v.within(limits));
                let made = value.as_ref().map_or(0, |v| u64::from(v.weight()));
                Some((value, start + used + machine.used() + made))
            }
        }
    }
}
