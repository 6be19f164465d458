//! Names: registers, variables, shared memory.

use std::collections::HashSet;

use super::{Lower, Named, Result};
use crate::program::Kind;
use crate::ptx::{Function, Operand, Space, Statement, Type, Variable};

/// Registers of one kind before they are allocated: far more than compilers use.
const MOST_REGISTERS: u32 = 1 << 18;
/// Bytes that a device gives a thread for itself.
const MOST_LOCAL: u64 = 512 << 10;
/// Bytes that are more than any device's shared memory.
const MOST_SHARED: u64 = 1 << 20;
impl Lower<'_> {
    pub(super) fn find(&self, name: &str) -> Option<Named> {
        if let Some(found) = self.scope.names.iter().rev().find_map(|names| names.get(name)) {
            return Some(found.clone());
        }
        if let Some(&offset) = self.shared_names.get(name) {
            return Some(Named::Variable(Space::Shared, offset));
        }
        if self.dynamic_names.contains(name) {
            let end = self.shared.next_multiple_of(self.shared_align);
            return Some(Named::Variable(Space::Shared, end.into()));
        }
        if let Some(&address) = self.addresses.get(name) {
            return Some(Named::Variable(Space::Global, address));
        }
        // `%r` declares one register, `%r<4>` declares %r0 to %r3.
        let digits = name.len() - name.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (stem, number) = name.split_at(digits);
        let number: u32 = number.parse().ok()?;
        let key = format!("{stem}<>");
        self.scope.names.iter().rev().find_map(|names| match names.get(&key)? {
            Named::Registers(kind, first, count) if number < *count => Some(Named::Register(*kind, first + number)),
            _ => None,
        })
    }

    /// Shared memory of everything that the entry names, directly or through calls.
    pub(super) fn place_shared(&mut self, function: &Function) -> Result<()> {
        let mut todo = vec![function];
        let mut done = HashSet::new();
        let mut names = HashSet::new();
        let mut inner: Vec<&Variable> = Vec::new();
        while let Some(function) = todo.pop() {
            if !done.insert(function.name.clone()) {
                continue;
            }
            for statement in &function.body {
                match statement {
                    Statement::Instruction(instruction) => {
                        instruction.operands.iter().for_each(|operand| collect(operand, &mut names));
                    }
                    Statement::Variable(variable) if variable.space == Space::Shared => inner.push(variable),
                    _ => {}
                }
            }
            todo.extend(self.module.functions.iter().filter(|f| names.contains(f.name.as_str())));
        }
        let outer =
            self.module.variables.iter().filter(|v| v.space == Space::Shared && names.contains(v.name.as_str()));
        for variable in outer.chain(inner) {
            self.shared_align = self.shared_align.max(variable.align as u32);
            if variable.is_extern || variable.size == 0 {
                self.dynamic_names.insert(variable.name.clone());
                continue;
            }
            self.shared = self.shared.next_multiple_of(variable.align as u32);
            self.shared_names.insert(variable.name.clone(), self.shared.into());
            let end = u64::from(self.shared).saturating_add(variable.size as u64);
            if end > MOST_SHARED {
                return self.unsupported(format!("{end} bytes of shared memory"));
            }
            self.shared = end as u32;
        }
        Ok(())
    }

    pub(super) fn name(&mut self, name: &str, named: Named) {
        if let Some(names) = self.scope.names.last_mut() {
            names.insert(name.to_owned(), named);
        }
    }

    pub(super) fn declare(&mut self, ty: Type, name: &str, count: Option<u32>) -> Result<()> {
        let kind = match ty {
            Type::Pred => Kind::Predicate,
            Type::B128 => return self.unsupported("registers of 128 bits"),
            _ if ty.bytes() == 8 => Kind::B64,
            _ => Kind::B32,
        };
        let i = match kind {
            Kind::B32 => 0,
            Kind::B64 => 1,
            Kind::Predicate => 2,
        };
        let first = self.counts[i];
        let (key, named) = match count {
            Some(count) => (format!("{name}<>"), Named::Registers(kind, first, count)),
            None => (name.to_owned(), Named::Register(kind, first)),
        };
        if self.scope.names.last().is_some_and(|names| names.contains_key(&key)) {
            return self.unsupported(format!("{name} is declared a second time"));
        }
        self.counts[i] = first.saturating_add(count.unwrap_or(1));
        if self.counts[i] > MOST_REGISTERS {
            return self.unsupported(format!("more than {MOST_REGISTERS} registers of one kind"));
        }
        self.name(&key, named);
        Ok(())
    }

    pub(super) fn variable(&mut self, variable: &Variable) -> Result<()> {
        match variable.space {
            // Placed before, and named for the whole kernel.
            Space::Shared => Ok(()),
            Space::Local | Space::Param => {
                self.local = self.local.next_multiple_of(variable.align as u64);
                self.name(&variable.name, Named::Variable(Space::Local, self.local));
                self.local = self.local.saturating_add(variable.size as u64);
                if self.local > MOST_LOCAL {
                    return self.unsupported(format!("more than {MOST_LOCAL} bytes of a thread's own memory"));
                }
                Ok(())
            }
            _ => self.unsupported("a variable of the device inside of a function"),
        }
    }
}

fn collect<'a>(operand: &'a Operand, names: &mut HashSet<&'a str>) {
    match operand {
        Operand::Name(name) | Operand::Sum(name, _) => {
            names.insert(name);
        }
        Operand::Address(inner, _) | Operand::Not(inner) | Operand::Negated(inner) => collect(inner, names),
        Operand::List(all) => all.iter().for_each(|inner| collect(inner, names)),
        Operand::Pair(a, b) => {
            collect(a, names);
            collect(b, names);
        }
        Operand::Integer(_) | Operand::Single(_) | Operand::Double(_) => {}
    }
}
