// The skinny kernels of the instruction set in use.
#pragma once

#include "backend/cpu/skinny_table.hpp"

namespace eigencontext::cpu {

template <class T>
const SkinnyTable<T>& skinny_table();
template <>
const SkinnyTable<float>& skinny_table();
template <>
const SkinnyTable<double>& skinny_table();

}  // namespace eigencontext::cpu
