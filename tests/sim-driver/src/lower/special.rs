//! Special registers.

use crate::program::{Compare, Kind, Special};

/// What a special register is, and its width.
pub(super) fn special(name: &str) -> Option<(Special, Kind)> {
    let name = name.strip_prefix('%')?;
    if let Some((base, axis)) = name.split_once('.') {
        let axis = match axis {
            "x" => 0,
            "y" => 1,
            "z" => 2,
            _ => return None,
        };
        let what = match base {
            "tid" => Special::Tid(axis),
            "ntid" => Special::Ntid(axis),
            "ctaid" => Special::Ctaid(axis),
            "nctaid" => Special::Nctaid(axis),
            // Clusters of one block.
            "clusterid" => Special::Ctaid(axis),
            "nclusterid" => Special::Nctaid(axis),
            "cluster_ctaid" => Special::Constant(0),
            "cluster_nctaid" => Special::Constant(1),
            _ => return None,
        };
        return Some((what, Kind::B32));
    }
    Some(match name {
        "laneid" => (Special::Lane, Kind::B32),
        "warpid" => (Special::Warp, Kind::B32),
        "nwarpid" => (Special::Warps, Kind::B32),
        "smid" => (Special::Processor, Kind::B32),
        "nsmid" => (Special::Processors, Kind::B32),
        "gridid" => (Special::Grid, Kind::B64),
        "lanemask_eq" => (Special::LaneMask(Compare::Eq), Kind::B32),
        "lanemask_le" => (Special::LaneMask(Compare::LeU), Kind::B32),
        "lanemask_lt" => (Special::LaneMask(Compare::LtU), Kind::B32),
        "lanemask_ge" => (Special::LaneMaskGe, Kind::B32),
        "lanemask_gt" => (Special::LaneMaskGt, Kind::B32),
        "clock" | "globaltimer_lo" => (Special::Clock, Kind::B32),
        "clock_hi" | "globaltimer_hi" => (Special::ClockHigh, Kind::B32),
        "clock64" => (Special::Clock, Kind::B64),
        "globaltimer" => (Special::Time, Kind::B64),
        "dynamic_smem_size" => (Special::DynamicShared, Kind::B32),
        "total_smem_size" => (Special::TotalShared, Kind::B32),
        "cluster_ctarank" => (Special::Constant(0), Kind::B32),
        "cluster_nctarank" => (Special::Constant(1), Kind::B32),
        "is_explicit_cluster" => (Special::Constant(0), Kind::Predicate),
        // What compilers of cooperative kernels read the workspace's address from.
        "envreg1" => (Special::Workspace(32), Kind::B32),
        "envreg2" => (Special::Workspace(0), Kind::B32),
        _ if name.starts_with("envreg") => (Special::Constant(0), Kind::B32),
        _ => return None,
    })
}
