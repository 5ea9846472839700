#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/kernels/reorder_simd.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/kernels/reorder.h"
#include "runtime/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace octavo::kernels::HWY_NAMESPACE {

// Planes go to pixels four channels at a time: as many pixels as a vector has lanes are interleaved
// into pieces of four channels, of which each pixel gets one. Three channels are whole pixels.
template <class T>
void planes_to_pixels(const T* in, T* out, const PlaneRange& r) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  HWY_ALIGN T pieces[4 * hn::MaxLanes(d)];
  int64_t p = r.begin;
  for (; p + lanes <= r.end; p += lanes) {
    const T* from = in + p;
    T* to = out + p * r.channels;
    if (r.channels == 3) {
      hn::StoreInterleaved3(hn::LoadU(d, from), hn::LoadU(d, from + r.pixels),
                            hn::LoadU(d, from + 2 * r.pixels), d, to);
      continue;
    }
    int64_t c = 0;
    for (; c + 4 <= r.channels; c += 4, from += 4 * r.pixels) {
      hn::StoreInterleaved4(hn::LoadU(d, from), hn::LoadU(d, from + r.pixels),
                            hn::LoadU(d, from + 2 * r.pixels), hn::LoadU(d, from + 3 * r.pixels), d,
                            pieces);
      for (int64_t i = 0; i < lanes; ++i) {
        std::memcpy(to + i * r.channels + c, pieces + 4 * i, 4 * sizeof(T));
      }
    }
    for (; c < r.channels; ++c, from += r.pixels) {
      for (int64_t i = 0; i < lanes; ++i) to[i * r.channels + c] = from[i];
    }
  }
  for (; p < r.end; ++p) {
    for (int64_t c = 0; c < r.channels; ++c) out[p * r.channels + c] = in[c * r.pixels + p];
  }
}

template <class T>
void pixels_to_planes(const T* in, T* out, const PlaneRange& r) {
  const hn::ScalableTag<T> d;
  // Groups of four channels at a time: a vector cannot be read at once from pieces just written.
  constexpr int64_t kGroups = sizeof(T) >= 4 && !kSmallCode ? 4 : 1;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  HWY_ALIGN T pieces[kGroups][4 * hn::MaxLanes(d)];
  int64_t p = r.begin;
  for (; p + lanes <= r.end; p += lanes) {
    const T* from = in + p * r.channels;
    T* to = out + p;
    int64_t c = 0;
    while (c + 4 <= r.channels) {
      const int64_t groups = std::min(kGroups, (r.channels - c) / 4);
      for (int64_t i = 0; i < lanes; ++i) {
        for (int64_t g = 0; g < groups; ++g) {
          std::memcpy(pieces[g] + 4 * i, from + i * r.channels + c + 4 * g, 4 * sizeof(T));
        }
      }
      for (int64_t g = 0; g < groups; ++g, to += 4 * r.pixels) {
        hn::Vec<decltype(d)> v0, v1, v2, v3;
        hn::LoadInterleaved4(d, pieces[g], v0, v1, v2, v3);
        hn::StoreU(v0, d, to);
        hn::StoreU(v1, d, to + r.pixels);
        hn::StoreU(v2, d, to + 2 * r.pixels);
        hn::StoreU(v3, d, to + 3 * r.pixels);
      }
      c += 4 * groups;
    }
    for (; c < r.channels; ++c, to += r.pixels) {
      for (int64_t i = 0; i < lanes; ++i) to[i] = from[i * r.channels + c];
    }
  }
  for (; p < r.end; ++p) {
    for (int64_t c = 0; c < r.channels; ++c) out[c * r.pixels + p] = in[p * r.channels + c];
  }
}

void reorder_image(const void* in, void* out, int64_t bytes, bool to_pixels, const PlaneRange& r) {
  const auto as = [&]<class T>() {
    (to_pixels ? planes_to_pixels<T> : pixels_to_planes<T>)(static_cast<const T*>(in),
                                                            static_cast<T*>(out), r);
  };
  switch (bytes) {
    case 1: return as.template operator()<uint8_t>();
    case 2: return as.template operator()<uint16_t>();
    case 4: return as.template operator()<uint32_t>();
    default: return as.template operator()<uint64_t>();
  }
}

}  // namespace octavo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace octavo::kernels {
namespace {
HWY_EXPORT(reorder_image);
}  // namespace

void reorder_image(const void* in, void* out, int64_t bytes, bool to_pixels,
                   const PlaneRange& range) {
  HWY_DYNAMIC_DISPATCH(reorder_image)(in, out, bytes, to_pixels, range);
}
}  // namespace octavo::kernels
#endif
