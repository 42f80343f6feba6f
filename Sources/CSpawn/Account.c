#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <grp.h>
#include <pwd.h>

#include "CSpawn.h"

int gaia_account_find(const char *name, struct gaia_account *account) {
    struct passwd entry;
    struct passwd *found = NULL;
    char buffer[16384];
    int error = getpwnam_r(name, &entry, buffer, sizeof buffer, &found);
    if (error != 0) {
        errno = error;
        return -1;
    }
    if (found == NULL) return 0;
    int count = GAIA_GROUPS_MAX;
    if (getgrouplist(name, entry.pw_gid, account->groups, &count) < 0) {
        errno = E2BIG;
        return -1;
    }
    account->user = entry.pw_uid;
    account->group = entry.pw_gid;
    account->group_count = (size_t)count;
    return 1;
}
