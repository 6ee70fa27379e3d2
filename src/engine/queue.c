/* queue.c - the doubly linked queue of requests; see engine.h for who owns which. */
#include "engine/engine.h"

void vd_queue_push_back(vd_queue *queue, vd_request *request)
{
    request->prev = queue->tail;
    request->next = NULL;
    if (queue->tail != NULL)
        queue->tail->next = request;
    else
        queue->head = request;
    queue->tail = request;
    queue->n++;
}

void vd_queue_push_front(vd_queue *queue, vd_request *request)
{
    request->prev = NULL;
    request->next = queue->head;
    if (queue->head != NULL)
        queue->head->prev = request;
    else
        queue->tail = request;
    queue->head = request;
    queue->n++;
}

void vd_queue_remove(vd_queue *queue, vd_request *request)
{
    if (request->prev != NULL)
        request->prev->next = request->next;
    else
        queue->head = request->next;
    if (request->next != NULL)
        request->next->prev = request->prev;
    else
        queue->tail = request->prev;
    request->prev = request->next = NULL;
    queue->n--;
}
