/* news.h - tell the family what has happened; see crew/news.h */
#ifndef CREW_SYNC_NEWS_H
#define CREW_SYNC_NEWS_H

#include <crew/news.h>
#include "sync/section.h"

/*
 * Outside of sections. .when and .number are filled in. once (may be NULL): a shared word that tells whether this has been
 * told; it is set in the same step.
 */
void crew__tell(const struct crew_news *news, uint32_t *once);

#endif
