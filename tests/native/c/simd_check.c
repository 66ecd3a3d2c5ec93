/* Runs every kernel of every instruction set this machine has against plain C.
 *
 *     simd_check SEED
 *
 * No Python in it, so that it can be compiled for another architecture and emulated. */
#include "simd_check.h"

uint64_t check_seed;
int check_failures;

int main(int count, char **arguments)
{
    const uint64_t seed = count > 1 ? strtoull(arguments[1], NULL, 10) : 1;

    for (int i = 0; vc_kernels_at(i) != NULL; i++) {
        check_seed = seed;
        check_features(vc_kernels_at(i));
        check_fir(vc_kernels_at(i));
        check_g711(vc_kernels_at(i));
        check_pcm(vc_kernels_at(i));
        check_silero(vc_kernels_at(i));
        printf("%s checked\n", vc_kernels_at(i)->isa);
    }
    return check_failures ? 1 : 0;
}
