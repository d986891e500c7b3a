"""Recognise RSA moduli of the Infineon library whose keys can be factored (CVE-2017-15361). Factors nothing.

M. Nemec et al., "The Return of Coppersmith's Attack: Practical Factorization of Widely Used RSA Moduli" (2017): both
primes of such a key are powers of 65537 modulo a product of small primes, and so is the modulus.
"""

from __future__ import annotations

from typing import Final

_GENERATOR: Final = 65_537


def _subgroup(prime: int) -> frozenset[int]:
    powers = {1}
    power = _GENERATOR % prime
    while power not in powers:
        powers.add(power)
        power = power * _GENERATOR % prime
    return frozenset(powers)


_PRIMES: Final = (
    *(3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107),
    *(109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167),
)
"""The factors that every size of key has in common, but for 2."""
_POWERS: Final = {prime: _subgroup(prime) for prime in _PRIMES}
"""Prime → the remainders that a modulus of such a key may have. Any other modulus has all of them once in 2^27."""


def is_roca(modulus: int) -> bool:
    """Return whether an RSA modulus has the fingerprint."""
    return all(modulus % prime in powers for prime, powers in _POWERS.items())
