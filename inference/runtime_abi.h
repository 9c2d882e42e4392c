/* The C door of a runtime library (libskerry_torch_runtime.so), so that skerryd can dlopen it. Version it, never reorder it. */
#ifndef SKERRY_INFERENCE_RUNTIME_ABI_H_
#define SKERRY_INFERENCE_RUNTIME_ABI_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SKERRY_RUNTIME_ABI 1u
#define SKERRY_RUNTIME_RANK_MAX 8

typedef struct {
  uint8_t type; /* skerry::inference::DataType */
  uint32_t rank;
  int64_t shape[SKERRY_RUNTIME_RANK_MAX];
  const void* data; /* inputs: the caller's; outputs: the library's, until release() */
  size_t bytes;
} skerry_tensor;

typedef struct skerry_session skerry_session;
typedef struct skerry_answer skerry_answer;

typedef struct {
  uint32_t abi;
  const char* name;
  /* engine: "onednn" or "qnnpack". NULL on failure, with the reason in error. */
  skerry_session* (*load)(const char* path, const char* engine, char* error, size_t error_bytes);
  void (*unload)(skerry_session*);
  /* NULL on failure, with the reason in error. Safe from many threads. */
  skerry_answer* (*run)(const skerry_session*, const skerry_tensor* inputs, size_t count, char* error, size_t error_bytes);
  size_t (*outputs)(const skerry_answer*, const skerry_tensor** first);
  void (*release)(skerry_answer*);
} skerry_runtime;

/* The only exported symbol. */
const skerry_runtime* skerry_runtime_get(void);

#ifdef __cplusplus
}
#endif
#endif
