// The loop of a device that listens: audio in, words out, with TensorFlow Lite Micro.
//
// A sketch to begin with: read_audio() and said() are the board's. It is for the files
// of examples/speech_recognition.py, which keep their states and take two frames of
// features at a time; that example writes model.h and model.cc, too (tied.h, tied.cc).
// tests/examples/test_firmware.py compares it with the file and the front end.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "model.h"
#include "tensorflow/lite/experimental/microfrontend/lib/frontend.h"
#include "tensorflow/lite/experimental/microfrontend/lib/frontend_util.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/micro/micro_resource_variable.h"
#include "tensorflow/lite/schema/schema_generated.h"

constexpr int kSampleRate = 8000;
constexpr int kHop = kSampleRate * 16 / 1000;
constexpr int kBands = 24;
constexpr int kStates = 16;  // at least one for each state
constexpr int kArenaBytes = 48 * 1024;  // see the first line of model.h

void read_audio(int16_t* samples, size_t count);  // waits for so many
void said(int word);

alignas(16) static uint8_t arena[kArenaBytes];

static bool start_frontend(FrontendState* state) {
  FrontendConfig config;
  FrontendFillConfigWithDefaults(&config);
  config.window.size_ms = 32;
  config.window.step_size_ms = 16;
  config.filterbank.num_channels = kBands;
  config.filterbank.lower_band_limit = 60.0f;
  config.filterbank.upper_band_limit = 0.47f * kSampleRate;
  config.noise_reduction.min_signal_remaining = 1.0f;
  config.pcan_gain_control.enable_pcan = 0;
  return FrontendPopulateState(&config, state, kSampleRate);
}

int listen() {
  tflite::MicroMutableOpResolver<14> resolver;
  resolver.AddAdd();
  resolver.AddAssignVariable();
  resolver.AddCallOnce();
  resolver.AddConcatenation();
  resolver.AddConv2D();
  resolver.AddDepthwiseConv2D();
  resolver.AddFill();
  resolver.AddFullyConnected();
  resolver.AddIf();
  resolver.AddReadVariable();
  resolver.AddRelu();
  resolver.AddReshape();
  resolver.AddStridedSlice();
  resolver.AddVarHandle();

  auto* allocator = tflite::MicroAllocator::Create(arena, kArenaBytes);
  auto* states = tflite::MicroResourceVariables::Create(allocator, kStates);
  tflite::MicroInterpreter network(tflite::GetModel(g_model), resolver, allocator,
                                   states);
  FrontendState frontend;
  if (network.AllocateTensors() != kTfLiteOk || !start_frontend(&frontend)) return 1;
  const TfLiteTensor* taken = network.input(0);
  const TfLiteTensor* given = network.output(0);
  const size_t classes = given->dims->data[given->dims->size - 1];

  size_t filled = 0;
  size_t last = 0;  // 0 is the blank: no word begins or ends
  int16_t audio[kHop];
  for (;;) {
    read_audio(audio, kHop);
    size_t read;
    const FrontendOutput features =
        FrontendProcessSamples(&frontend, audio, kHop, &read);
    for (size_t i = 0; i < features.size; ++i)
      taken->data.int8[filled++] = static_cast<int8_t>(std::min(features.values[i] / 4, 255) - 128);
    if (filled < taken->bytes) continue;
    filled = 0;
    if (network.Invoke() != kTfLiteOk) return 1;
    for (size_t first = 0; first < given->bytes; first += classes) {
      const int8_t* scores = given->data.int8 + first;
      const size_t best = std::max_element(scores, scores + classes) - scores;
      if (best != last && best != 0) said(static_cast<int>(best));
      last = best;
    }
  }
}
