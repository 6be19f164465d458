//! The variables of a module in device memory.

use std::collections::HashMap;

use crate::ptx::{Module, Space, Variable};
use crate::region::Region;

/// Those that a module brings with it.
pub(crate) fn of(module: &Module) -> impl Iterator<Item = &Variable> {
    module.variables.iter().filter(|v| matches!(v.space, Space::Global | Space::Const) && !v.is_extern)
}

/// Puts a variable's first contents into its memory. The addresses are those of all variables of the module.
pub(crate) fn fill(
    module: &Module,
    variable: &Variable,
    addresses: &HashMap<String, u64>,
    region: &Region,
    offset: u64,
) -> Result<(), String> {
    let mut bytes = variable.contents.clone();
    for (at, name, add) in &variable.addresses {
        let address = match addresses.get(name) {
            Some(address) => address.wrapping_add(*add as u64),
            // Calls through pointers are refused where they stand.
            None if module.functions.iter().any(|function| function.name == *name) => 0,
            None => return Err(format!("{} holds the address of {name}, which is not here", variable.name)),
        };
        match bytes.get_mut(*at..*at + 8) {
            Some(place) => place.copy_from_slice(&address.to_le_bytes()),
            None => return Err(format!("{} is too small for the address of {name}", variable.name)),
        }
    }
    region.put(offset, &bytes);
    region.fill(offset + bytes.len() as u64, &[0], (variable.size - bytes.len()) as u64);
    Ok(())
}
