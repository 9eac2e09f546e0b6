"""What the inventory says that bears on one saga."""

from services.coordinator.saga.deadline import Calendar
from services.coordinator.saga.state import Reach, World
from services.kit.calendars import zone_of
from services.kit.inventory import Inventory, KindClass


def calendar_of(inventory: Inventory, controller: str | None) -> Calendar:
    """A controller's calendar; the first controller's where none can be read, or it has left the inventory."""
    known = inventory.controllers
    code = known[controller if controller in known else next(iter(known))].calendar
    return Calendar(code, zone_of(code))


def world_of(inventory: Inventory, controller: str | None) -> World:
    """The stores that a controller's requests reach, and what each can be asked."""
    person_kinds = inventory.kinds_of(KindClass.PERSON)
    stores = {}
    if controller in inventory.controllers:
        role = inventory.controllers[controller].role
        for name, store in inventory.stores.items():
            if matches := store.matches(role):
                reveals = store.reveals_kinds(role)
                stores[name] = Reach(matches, reveals, matches | (reveals & person_kinds))
    calendar = calendar_of(inventory, controller)
    return World(stores, person_kinds, calendar, inventory.bundles.pickup_days)
