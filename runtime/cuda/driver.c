/* driver: see driver.h. */
#include "runtime/cuda/driver.h"

#include <dlfcn.h>
#include <stdio.h>

static const char *const names[] = {"libcuda.so.1", "libcuda.so", NULL};
static const ctl_cuda_library library = {names, "NVIDIA's driver (libcuda.so.1)", "CUDA 11.4", NULL};

const char *ctl_cuda_error(const ctl_cuda_driver *d, int error, char text[CTL_CUDA_WHY]) {
    const char *name = NULL, *words = NULL;
    if (d->error_name(error, &name) || !name) name = "an unknown error";
    if (d->error_text(error, &words) || !words) words = "no explanation";
    snprintf(text, CTL_CUDA_WHY, "%s (%s, %d)", words, name, error);
    return text;
}

ctl_status ctl_cuda_driver_open(ctl_cuda_driver *d, const ctl_cuda_folders *folders, char why[CTL_CUDA_WHY]) {
    *d = (ctl_cuda_driver){0};
    const ctl_cuda_entry_point entries[] = {
        {"cuInit", &d->init},
        {"cuGetErrorName", &d->error_name},
        {"cuGetErrorString", &d->error_text},
        {"cuDriverGetVersion", &d->version},
        {"cuDeviceGetCount", &d->device_count},
        {"cuDeviceGet", &d->device_get},
        {"cuDeviceGetName", &d->device_name},
        {"cuDeviceGetAttribute", &d->device_attribute},
        {"cuDevicePrimaryCtxRetain", &d->context_retain},
        {"cuDevicePrimaryCtxRelease_v2", &d->context_release},
        {"cuCtxPushCurrent_v2", &d->context_push},
        {"cuCtxPopCurrent_v2", &d->context_pop},
        {"cuMemGetInfo_v2", &d->memory_info},
        {"cuMemAlloc_v2", &d->allocate},
        {"cuMemFree_v2", &d->release},
        {"cuMemHostAlloc", &d->host_allocate},
        {"cuMemFreeHost", &d->host_release},
        {"cuMemcpyHtoDAsync_v2", &d->to_device},
        {"cuMemcpyDtoHAsync_v2", &d->to_host},
        {"cuMemcpy2DAsync_v2", &d->copy_rows},
        {"cuMemsetD8Async", &d->fill},
        {"cuModuleLoadData", &d->module_load},
        {"cuModuleUnload", &d->module_unload},
        {"cuModuleGetFunction", &d->module_function},
        {"cuFuncSetAttribute", &d->function_set},
        {"cuLaunchKernel", &d->launch},
        {"cuStreamCreate", &d->stream_create},
        {"cuStreamDestroy_v2", &d->stream_destroy},
        {"cuStreamSynchronize", &d->stream_synchronize},
        {"cuStreamBeginCapture_v2", &d->capture_begin},
        {"cuStreamEndCapture", &d->capture_end},
        {"cuGraphInstantiateWithFlags", &d->graph_instantiate},
        {"cuGraphLaunch", &d->graph_launch},
        {"cuGraphDestroy", &d->graph_destroy},
        {"cuGraphExecDestroy", &d->executable_destroy},
        {"cuEventCreate", &d->event_create},
        {"cuEventRecord", &d->event_record},
        {"cuEventElapsedTime", &d->event_milliseconds},
        {"cuEventDestroy_v2", &d->event_destroy},
    };
    d->library = ctl_cuda_library_open(&library, folders, entries, CTL_COUNT(entries), why);
    if (!d->library) return CTL_ERR_UNSUPPORTED;
    int error = d->init(0);
    if (!error) error = d->version(&d->cuda);
    if (!error) return CTL_OK;
    char text[CTL_CUDA_WHY];
    snprintf(why, CTL_CUDA_WHY, "NVIDIA's driver cannot begin: %.300s", ctl_cuda_error(d, error, text));
    ctl_cuda_driver_close(d);
    return CTL_ERR_UNSUPPORTED;
}

void ctl_cuda_driver_close(ctl_cuda_driver *d) {
    if (d->library) dlclose(d->library);
    *d = (ctl_cuda_driver){0};
}

ctl_status ctl_cuda_device_find(const ctl_cuda_driver *d, ctl_cuda_device *device, char why[CTL_CUDA_WHY]) {
    char text[CTL_CUDA_WHY];
    int count = 0, shared = 0, error = d->device_count(&count);
    *device = (ctl_cuda_device){0};
    if (!error && count < 1) error = CTL_CU_NO_DEVICE;
    if (!error) error = d->device_get(&device->number, 0);
    if (!error) error = d->device_name(device->name, (int)sizeof device->name, device->number);
    if (!error) error = d->device_attribute(&device->major, CTL_CU_MAJOR, device->number);
    if (!error) error = d->device_attribute(&device->minor, CTL_CU_MINOR, device->number);
    if (!error) error = d->device_attribute(&device->multiprocessors, CTL_CU_MULTIPROCESSORS, device->number);
    if (!error) error = d->device_attribute(&shared, CTL_CU_SHARED_OPTIN, device->number);
    device->shared_bytes = shared > 0 ? (size_t)shared : 0;
    if (!error) return CTL_OK;
    snprintf(why, CTL_CUDA_WHY, "no GPU can be used: %.400s", ctl_cuda_error(d, error, text));
    return CTL_ERR_UNSUPPORTED;
}
