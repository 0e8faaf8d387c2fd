// svd and eigh of an operator.
#include "spectrum/spectrum.hpp"

#include <utility>

#include "backend/backend.hpp"
#include "base/errors.hpp"
#include "bindings/arrays.hpp"
#include "spectrum/basis.hpp"
#include "spectrum/rpcholesky.hpp"

namespace eigencontext::bindings {
namespace {

#ifdef EIGENCONTEXT_CUDA
using Precision = cuda::Tf32Scope;
#else
struct Precision {
  explicit Precision(bool tf32) {
    if (tf32) throw ArgumentError("precision", "tf32", "exact on the CPU");
  }
};
#endif

constexpr std::pair<const char*, Method> methods[] = {{"krylov", Method::krylov},
                                                      {"subspace", Method::subspace},
                                                      {"gram", Method::gram},
                                                      {"full", Method::full},
                                                      {"rpcholesky", Method::rpcholesky}};

Method parse_method(const std::string& name) {
  for (const auto& [text, method] : methods)
    if (name == text) return method;
  throw ArgumentError("method", name, "krylov, subspace, gram, full, rpcholesky");
}

const char* method_name(Method wanted) {
  for (const auto& [text, method] : methods)
    if (method == wanted) return text;
  return "";
}

// The engine calls without the GIL; a Python exception in the callback travels through it unchanged.
std::function<bool(const Progress&)> wrap_callback(const py::object& callback) {
  if (callback.is_none()) return {};
  const auto function = std::shared_ptr<const void>(keep_alive(callback));
  return [function](const Progress& p) {
    const py::gil_scoped_acquire gil;
    const auto& f = *static_cast<const py::object*>(function.get());
    const py::object answer = f(p.sweep, p.basis_size, to_numpy(*p.residuals), p.elapsed);
    return answer.is(py::bool_(true));
  };
}

template <class T>
py::dict to_dict(SpectrumResult<Device, T>&& r, bool with_left) {
  py::dict d;
  if (with_left) d["left"] = to_python(std::move(r.left));
  d["right"] = to_python(std::move(r.right));
  d["values"] = to_numpy(r.values);
  d["residuals"] = to_numpy(r.residuals);
  py::array_t<bool> converged(static_cast<py::ssize_t>(r.converged.size()));
  std::copy(r.converged.begin(), r.converged.end(), converged.mutable_data());
  d["converged"] = converged;
  d["missed"] = r.missed;
  d["sweeps"] = r.sweeps;
  d["matvecs"] = r.matvecs;
  d["method"] = method_name(r.method);
  d["stop_reason"] = r.stop_reason;
  d["warnings"] = r.warnings;
  return d;
}

// The factor alone, for tests: A ~ F F^T.
template <class T>
py::dict rpcholesky(const std::shared_ptr<Operator<Device, T>>& op, Index rank, Index proposals, std::uint64_t seed) {
  const auto cholesky = without_gil([&] {
    auto c = std::make_unique<spectrum::PivotedCholesky<Device, T>>(*op, rank, seed);
    while (c->size() < rank && c->step(proposals)) {
    }
    return c;
  });
  const Block<const T> F = cholesky->factor();
  auto factor = spectrum::columns<Device, T>(F, 0, F.cols);
  py::dict d;
  d["factor"] = to_python(std::move(factor));
  d["pivots"] = cholesky->pivots();
  d["trace"] = cholesky->trace();
  return d;
}

template <class T>
void bind(py::module_& m) {
  using Op = Operator<Device, T>;
  const auto solve = [](bool singular) {
    return [singular](const std::shared_ptr<Op>& op, Index k, const std::string& method, double tol, Index block_size,
                      Index max_basis, Index max_sweeps, bool verify, bool squared, bool keep_sweeps,
                      std::uint64_t seed, const std::vector<double>& start, const py::object& callback, bool tf32) {
      SpectrumOptions options;
      options.method = parse_method(method);
      options.tol = tol;
      options.block_size = block_size;
      options.max_basis = max_basis;
      options.max_sweeps = max_sweeps;
      options.verify = verify;
      options.squared = squared;
      options.keep_sweeps = keep_sweeps;
      options.seed = seed;
      options.start = start;
      options.callback = wrap_callback(callback);
      auto result = without_gil([&] {
        const Precision precision(tf32);
        return singular ? svd<Device, T>(*op, k, options) : eigh<Device, T>(*op, k, options);
      });
      return to_dict(std::move(result), singular);
    };
  };
  for (const bool singular : {true, false}) {
    m.def(singular ? "svd" : "eigh", solve(singular), py::arg("op"), py::arg("k"), py::kw_only(),
          py::arg("method") = "krylov", py::arg("tol") = 1e-3, py::arg("block_size") = 0, py::arg("max_basis") = 0,
          py::arg("max_sweeps") = 0, py::arg("verify") = true, py::arg("squared") = false,
          py::arg("keep_sweeps") = false, py::arg("seed") = 0, py::arg("start") = std::vector<double>{},
          py::arg("callback") = py::none(), py::arg("tf32") = false);
  }
  m.def("rpcholesky", &rpcholesky<T>, py::arg("op"), py::arg("rank"), py::arg("proposals"), py::arg("seed") = 0);
}

}  // namespace

void bind_spectrum(py::module_& m) {
  bind<float>(m);
  bind<double>(m);
}

}  // namespace eigencontext::bindings
