//! Names of the driver's functions, as settings name them.

/// The functions that are simulated, without those that explain codes.
const SIMULATED: &[&str] = &[
    "cuCtxCreate_v2",
    "cuCtxDestroy_v2",
    "cuCtxDisablePeerAccess",
    "cuCtxEnablePeerAccess",
    "cuCtxGetApiVersion",
    "cuCtxGetCacheConfig",
    "cuCtxGetCurrent",
    "cuCtxGetDevice",
    "cuCtxGetFlags",
    "cuCtxGetLimit",
    "cuCtxGetSharedMemConfig",
    "cuCtxGetStreamPriorityRange",
    "cuCtxPopCurrent_v2",
    "cuCtxPushCurrent_v2",
    "cuCtxResetPersistingL2Cache",
    "cuCtxSetCacheConfig",
    "cuCtxSetCurrent",
    "cuCtxSetLimit",
    "cuCtxSetSharedMemConfig",
    "cuCtxSynchronize",
    "cuDeviceCanAccessPeer",
    "cuDeviceComputeCapability",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetByPCIBusId",
    "cuDeviceGetCount",
    "cuDeviceGetDefaultMemPool",
    "cuDeviceGetName",
    "cuDeviceGetP2PAttribute",
    "cuDeviceGetPCIBusId",
    "cuDeviceGetUuid",
    "cuDeviceGetUuid_v2",
    "cuDevicePrimaryCtxGetState",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxReset_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxSetFlags_v2",
    "cuDeviceTotalMem_v2",
    "cuDriverGetVersion",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventElapsedTime",
    "cuEventQuery",
    "cuEventRecord",
    "cuEventRecordWithFlags",
    "cuEventSynchronize",
    "cuFuncGetAttribute",
    "cuFuncSetAttribute",
    "cuFuncSetCacheConfig",
    "cuFuncSetSharedMemConfig",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphGetNodes",
    "cuGraphInstantiateWithFlags",
    "cuGraphInstantiate_v2",
    "cuGraphLaunch",
    "cuGraphUpload",
    "cuInit",
    "cuLaunchCooperativeKernel",
    "cuLaunchHostFunc",
    "cuLaunchKernel",
    "cuLaunchKernelEx",
    "cuMemAdvise",
    "cuMemAllocAsync",
    "cuMemAllocHost_v2",
    "cuMemAllocManaged",
    "cuMemAllocPitch_v2",
    "cuMemAlloc_v2",
    "cuMemFreeAsync",
    "cuMemFreeHost",
    "cuMemFree_v2",
    "cuMemGetAddressRange_v2",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemHostGetDevicePointer_v2",
    "cuMemHostRegister_v2",
    "cuMemHostUnregister",
    "cuMemPoolGetAttribute",
    "cuMemPoolSetAttribute",
    "cuMemPoolTrimTo",
    "cuMemPrefetchAsync",
    "cuMemcpy",
    "cuMemcpy2DAsync_v2",
    "cuMemcpy2DUnaligned_v2",
    "cuMemcpy2D_v2",
    "cuMemcpyAsync",
    "cuMemcpyDtoDAsync_v2",
    "cuMemcpyDtoD_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyDtoH_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyHtoD_v2",
    "cuMemcpyPeer",
    "cuMemcpyPeerAsync",
    "cuMemsetD16Async",
    "cuMemsetD16_v2",
    "cuMemsetD2D16Async",
    "cuMemsetD2D16_v2",
    "cuMemsetD2D32Async",
    "cuMemsetD2D32_v2",
    "cuMemsetD2D8Async",
    "cuMemsetD2D8_v2",
    "cuMemsetD32Async",
    "cuMemsetD32_v2",
    "cuMemsetD8Async",
    "cuMemsetD8_v2",
    "cuModuleGetFunction",
    "cuModuleGetGlobal_v2",
    "cuModuleLoad",
    "cuModuleLoadData",
    "cuModuleLoadDataEx",
    "cuModuleLoadFatBinary",
    "cuModuleUnload",
    "cuOccupancyAvailableDynamicSMemPerBlock",
    "cuOccupancyMaxActiveBlocksPerMultiprocessor",
    "cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags",
    "cuOccupancyMaxPotentialBlockSize",
    "cuOccupancyMaxPotentialBlockSizeWithFlags",
    "cuPointerGetAttribute",
    "cuProfilerStart",
    "cuProfilerStop",
    "cuStreamAddCallback",
    "cuStreamBeginCapture_v2",
    "cuStreamCreate",
    "cuStreamCreateWithPriority",
    "cuStreamDestroy_v2",
    "cuStreamEndCapture",
    "cuStreamGetFlags",
    "cuStreamGetPriority",
    "cuStreamIsCapturing",
    "cuStreamQuery",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
];

/// Whether a function can be made to fail; else, which one may be meant.
pub(super) fn check(name: &str) -> Result<(), String> {
    if SIMULATED.contains(&name) {
        return Ok(());
    }
    // Headers of CUDA give some functions a name that ends in the version of their arguments.
    let meant = SIMULATED.iter().find(|known| {
        let bare = known.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches("_v");
        bare.eq_ignore_ascii_case(name) || known.eq_ignore_ascii_case(name)
    });
    let meant = meant.map_or_else(String::new, |known| format!("; {known} is one"));
    Err(format!("{name} is no function that can be made to fail{meant}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sources with functions of the driver.
    const SOURCES: &[&str] = &[
        include_str!("context.rs"),
        include_str!("device.rs"),
        include_str!("graph.rs"),
        include_str!("host.rs"),
        include_str!("kernel.rs"),
        include_str!("memory.rs"),
        include_str!("minor.rs"),
        include_str!("module.rs"),
        include_str!("occupancy.rs"),
        include_str!("plane.rs"),
        include_str!("stream.rs"),
    ];

    #[test]
    fn the_list_has_every_function_and_no_other() {
        let mut defined: Vec<&str> = SOURCES
            .iter()
            .flat_map(|source| source.split("extern \"C\" fn ").skip(1))
            .filter_map(|after| after.split('(').next())
            .filter(|name| !name.starts_with("cuGetError") && !name.starts_with('$'))
            // `plane.rs` has a macro for these.
            .chain(SIMULATED.iter().copied().filter(|name| name.starts_with("cuMemsetD2D")))
            .collect();
        defined.sort_unstable();
        let mut listed = SIMULATED.to_vec();
        listed.sort_unstable();
        assert_eq!(defined, listed);
    }

    #[test]
    fn every_function_is_entered_by_its_name() {
        let all = SOURCES.concat();
        for name in SIMULATED {
            let entered = all.contains(&format!("\"{name}\"")) || name.starts_with("cuMemsetD2D");
            assert!(entered, "{name} cannot be made to fail");
        }
    }

    #[test]
    fn what_is_meant_is_told() {
        assert!(check("cuMemcpyDtoH_v2").is_ok());
        assert!(check("cuMemcpyDtoH").unwrap_err().contains("cuMemcpyDtoH_v2 is one"));
        assert!(check("cumemalloc").unwrap_err().contains("cuMemAlloc_v2 is one"));
        assert!(!check("cuFoo").unwrap_err().contains("is one"));
    }
}
