/* doctor_calibrate.h - `verdant doctor --calibrate`. */
#ifndef VD_CLI_DOCTOR_CALIBRATE_H
#define VD_CLI_DOCTOR_CALIBRATE_H

/* argv as the command got it, --calibrate or --fit among it. Returns the exit status. */
int vd_doctor_calibrate(int argc, char **argv);

#endif
