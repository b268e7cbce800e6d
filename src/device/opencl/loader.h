/* SPDX-License-Identifier: Apache-2.0
 *
 * OpenCL as the machine's loader offers it: found with dlopen when somebody asks for a device, so that neither kith nor
 * this plug-in is linked with it. Version 1.2 is enough. */
#ifndef KI_DEVICE_OPENCL_LOADER_H
#define KI_DEVICE_OPENCL_LOADER_H

#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS

#include <CL/cl.h>

#include "device/backend.h"

#define CL_FUNCTIONS(X)                                                                                                \
    X(clGetPlatformIDs)                                                                                                \
    X(clGetPlatformInfo)                                                                                               \
    X(clGetDeviceIDs)                                                                                                  \
    X(clGetDeviceInfo)                                                                                                 \
    X(clCreateContext)                                                                                                 \
    X(clReleaseContext)                                                                                                \
    X(clCreateCommandQueue)                                                                                            \
    X(clReleaseCommandQueue)                                                                                           \
    X(clCreateBuffer)                                                                                                  \
    X(clReleaseMemObject)                                                                                              \
    X(clCreateProgramWithSource)                                                                                       \
    X(clCreateProgramWithBinary)                                                                                       \
    X(clBuildProgram)                                                                                                  \
    X(clGetProgramInfo)                                                                                                \
    X(clGetProgramBuildInfo)                                                                                           \
    X(clReleaseProgram)                                                                                                \
    X(clCreateKernel)                                                                                                  \
    X(clReleaseKernel)                                                                                                 \
    X(clSetKernelArg)                                                                                                  \
    X(clGetKernelWorkGroupInfo)                                                                                        \
    X(clEnqueueNDRangeKernel)                                                                                          \
    X(clEnqueueWriteBuffer)                                                                                            \
    X(clEnqueueReadBuffer)                                                                                             \
    X(clEnqueueFillBuffer)                                                                                             \
    X(clEnqueueMapBuffer)                                                                                              \
    X(clEnqueueUnmapMemObject)                                                                                         \
    X(clFlush)                                                                                                         \
    X(clFinish)                                                                                                        \
    X(clGetEventProfilingInfo)                                                                                         \
    X(clReleaseEvent)

#define CL_MEMBER(name) __typeof__(name) *name;
typedef struct ki_cl {
    CL_FUNCTIONS(CL_MEMBER)
} ki_cl;
#undef CL_MEMBER

/* The functions, or NULL and why not: no loader, or one that is too old. Stays for the process. */
const ki_cl *ki_cl_load(kith_error *error);

/* Fill *error and return `status`. */
kith_status ki_cl_say(kith_error *error, kith_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for what a function of OpenCL returned: memory that was refused, or a device that failed. */
kith_status ki_cl_fail(kith_error *error, cl_int code, const char *function);

/* A device's or platform's text, cut at `bytes`. */
void ki_cl_text(const ki_cl *cl, cl_device_id device, cl_device_info what, char *to, size_t bytes);

/* Which of all platforms' devices: OK, KITH_E_NOTFOUND, or why there are none. */
kith_status ki_cl_find(const ki_cl *cl, size_t which, cl_device_id *device, kith_error *error);

#endif
